"""What a database file of ours holds: its mark, its tables and indexes, and how each version became the next.

Source: docs/storage.md#sqlite
"""

from __future__ import annotations

from typing import Final

# Said in the file's header, so that another application's database is not taken for ours ("SKCS").
APPLICATION_ID: Final = 0x534B4353

# One script per schema version; `PRAGMA user_version` counts those that a file has had. Never edit an entry that has
# been released: append one.
#
# A conversation has a small number of its own, so that its 32-digit id is stored once and not in every row and index.
# Messages lie in the order in which they came, conversations mixed: clustered by conversation, each message would
# write, and now and then split, a page of its own. For the same reason no index has the change of every message: those
# that have the number of their creation are found by seq, and an index has only those that moved since.
# STRICT tables would be welcome, but need 3.37.
MIGRATIONS: Final = (
    """
    CREATE TABLE conversation (
        num            INTEGER PRIMARY KEY,
        id             TEXT    NOT NULL UNIQUE,
        kind           TEXT    NOT NULL,
        title          TEXT,
        created_by     TEXT    NOT NULL,
        created_at_ms  INTEGER NOT NULL,
        dedupe_key     TEXT,
        last_seq       INTEGER NOT NULL DEFAULT 0,
        last_change    INTEGER NOT NULL DEFAULT 0,
        activity_at_ms INTEGER NOT NULL
    );
    CREATE UNIQUE INDEX conversation_dedupe ON conversation (dedupe_key) WHERE dedupe_key IS NOT NULL;

    CREATE TABLE participant (
        conversation INTEGER NOT NULL REFERENCES conversation (num),
        user_id      TEXT    NOT NULL,
        read_seq     INTEGER NOT NULL DEFAULT 0,
        read_at_ms   INTEGER,
        PRIMARY KEY (conversation, user_id)
    ) WITHOUT ROWID;
    CREATE INDEX participant_user ON participant (user_id);

    CREATE TABLE message (
        conversation    INTEGER NOT NULL REFERENCES conversation (num),
        seq             INTEGER NOT NULL,
        change          INTEGER NOT NULL,
        id              TEXT    NOT NULL,
        sender_id       TEXT    NOT NULL,
        idempotency_key TEXT    NOT NULL,
        body            TEXT    NOT NULL,
        metadata        TEXT,
        created_at_ms   INTEGER NOT NULL,
        CHECK (change = seq)
    );
    CREATE UNIQUE INDEX message_seq ON message (conversation, seq);
    CREATE UNIQUE INDEX message_key ON message (conversation, sender_id, idempotency_key);
    """,
    # A list shows how many take part without counting them.
    """
    ALTER TABLE conversation ADD COLUMN participant_count INTEGER NOT NULL DEFAULT 0;
    UPDATE conversation SET participant_count = (SELECT count(*) FROM participant WHERE conversation = num);
    """,
    # How users are shown. Who has been here before is known, though under no name yet.
    """
    CREATE TABLE profile (
        user_id TEXT NOT NULL PRIMARY KEY,
        name    TEXT,
        avatar  TEXT
    ) WITHOUT ROWID;
    INSERT INTO profile (user_id)
        SELECT user_id FROM participant WHERE read_seq > 0 UNION SELECT created_by FROM conversation;
    """,
    # Messages are edited, deleted, reacted to: change is no longer seq. The table is written anew, because SQLite takes
    # no CHECK away.
    """
    CREATE TABLE message_4 (
        conversation    INTEGER NOT NULL REFERENCES conversation (num),
        seq             INTEGER NOT NULL,
        change          INTEGER NOT NULL,
        id              TEXT    NOT NULL,
        sender_id       TEXT    NOT NULL,
        idempotency_key TEXT    NOT NULL,
        body            TEXT    NOT NULL,
        metadata        TEXT,
        created_at_ms   INTEGER NOT NULL,
        extra           TEXT,
        born            INTEGER,
        later           TEXT,
        uncounted       INTEGER
    );
    INSERT INTO message_4
        SELECT conversation, seq, change, id, sender_id, idempotency_key, body, metadata, created_at_ms,
            NULL, NULL, NULL, NULL
        FROM message ORDER BY rowid;
    DROP TABLE message;
    ALTER TABLE message_4 RENAME TO message;
    CREATE UNIQUE INDEX message_seq ON message (conversation, seq);
    CREATE UNIQUE INDEX message_key ON message (conversation, sender_id, idempotency_key);
    CREATE UNIQUE INDEX message_moved ON message (conversation, change) WHERE born IS NOT NULL;
    CREATE INDEX message_uncounted ON message (conversation, seq) WHERE uncounted IS NOT NULL;
    """,
    # People come, go and have roles; titles change. The creator of a group owns it.
    """
    ALTER TABLE conversation ADD COLUMN metadata TEXT;
    ALTER TABLE conversation ADD COLUMN rev INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE participant ADD COLUMN role TEXT;
    ALTER TABLE participant ADD COLUMN since_seq INTEGER NOT NULL DEFAULT 1;
    ALTER TABLE participant ADD COLUMN first_seq INTEGER NOT NULL DEFAULT 1;
    UPDATE participant SET role = 'owner' WHERE (conversation, user_id) IN
        (SELECT num, created_by FROM conversation WHERE kind = 'group');
    """,
    # What participants have settled for themselves, in bits (rows.py), and up to where somebody had read who marked a
    # conversation as unread: that holds as long as it is so. And who is mentioned where.
    """
    ALTER TABLE participant ADD COLUMN settings INTEGER NOT NULL DEFAULT 0;
    ALTER TABLE participant ADD COLUMN marked_seq INTEGER;
    CREATE TABLE mention (
        conversation INTEGER NOT NULL,
        user_id      TEXT    NOT NULL,
        seq          INTEGER NOT NULL,
        PRIMARY KEY (conversation, user_id, seq)
    ) WITHOUT ROWID;
    INSERT INTO mention
        SELECT DISTINCT m.conversation, j.value, m.seq FROM message m, json_each(m.extra, '$.mentions') j
        WHERE m.extra IS NOT NULL;
    """,
)
