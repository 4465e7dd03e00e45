"""MongoDB through motor: the only module that knows the driver. A dozen questions and changes, in documents.

Motor is deprecated in favour of PyMongo's own async API: docs/decisions/0012-motor-in-one-file.md.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from motor.motor_asyncio import AsyncIOMotorClient, AsyncIOMotorCollection, AsyncIOMotorDatabase
from pymongo import InsertOne, ReadPreference, UpdateOne, WriteConcern
from pymongo.errors import (
    BulkWriteError,
    ConfigurationError,
    ConnectionFailure,
    DuplicateKeyError,
    InvalidURI,
    OperationFailure,
    PyMongoError,
)
from pymongo.read_concern import ReadConcern
from pymongo.uri_parser import parse_uri

from ...chat.domain import ConversationId, UserId
from ...errors import StoreUnavailable
from ..base import StoreUnusable
from ..writes import Key, Part, Place
from . import queries
from .documents import CONVERSATIONS, INDEXES, MESSAGES, PROFILES, Document, Index, Move

MongoError = PyMongoError
"""What every method here may raise."""

_DATABASE: Final = "socketserver"  # where the URL names none

# Used where the URL does not say otherwise, in the driver's spelling and units.
_OPTIONS: Final = {
    "appname": "socketserver",
    "serverSelectionTimeoutMS": 2_000,  # how long to look for a primary: an election takes longer, and is an outage
    "connectTimeoutMS": 2_000,
    "timeoutMS": 5_000,  # the whole of one operation, its retry included; the server gives up then too
}

# Acknowledged is durable: on most members, in their journals. Not left to the URL.
_WRITE: Final = WriteConcern(w="majority", j=True)
# What may be shown has to be what cannot be rolled back …
_COMMITTED: Final = ReadConcern("majority")
# … but a guess at the next number is better the newer it is: the unique index has the last word.
_NEWEST: Final = ReadConcern("local")

_DUPLICATE_KEY: Final = 11000


def options_for(url: str) -> dict[str, Any]:
    """This module's defaults for what the URL leaves open. Raises: ValueError for a malformed URL."""
    if url.startswith("mongodb://"):  # the other kind, mongodb+srv://, takes a look-up in the DNS
        try:
            parse_uri(url)
        except (InvalidURI, ConfigurationError, ValueError) as error:
            raise ValueError(f"The MongoDB connection string is malformed: {error}") from None
    given = {option.partition("=")[0].lower() for option in url.partition("?")[2].replace(";", "&").split("&")}
    return {name: value for name, value in _OPTIONS.items() if name.lower() not in given}


def is_away(error: MongoError) -> bool:
    """Whether an error says that nobody answers, so that others would only wait in vain."""
    return isinstance(error, ConnectionFailure) or error.timeout


class MongoDatabase:
    """The collections of one database (documents.py), each question and each change that the store has for them.

    Args:
        url: a MongoDB connection string; its database, or `socketserver`, is used. Its options win over this module's
            defaults, except for the write and read concerns.
        options: more options of the driver's, in its spelling.

    Every method but `open` and `close` raises MongoError, and needs the database open.
    Raises: ValueError for a malformed connection string.
    """

    def __init__(self, url: str, **options: Any) -> None:
        self._url = url
        self._options = options_for(url) | options
        self._client: AsyncIOMotorClient[Document] | None = None

    async def open(self) -> None:
        """Connect, and make or check the indexes.

        Raises: StoreUnavailable if nobody answers; StoreUnusable, with a sentence for the operator, for all else.
        """
        loop = asyncio.get_running_loop()
        try:
            # In a thread: a mongodb+srv name is looked up, and certificates are read, while clients are served.
            client: AsyncIOMotorClient[Document] = await asyncio.to_thread(
                AsyncIOMotorClient, self._url, io_loop=loop, **self._options
            )
        except (PyMongoError, OSError) as error:
            raise StoreUnusable(f"The MongoDB connection string cannot be used: {error}") from error
        database: AsyncIOMotorDatabase[Document] = client.get_default_database(_DATABASE)
        try:
            for index in INDEXES:
                await _ensure(database.get_collection(index.collection, write_concern=_WRITE), index)
        except PyMongoError as error:
            await _close(client)
            kind = StoreUnavailable if isinstance(error, ConnectionFailure) else StoreUnusable
            raise kind(f"The MongoDB database {database.name} cannot be used: {error}") from error
        except BaseException:
            await _close(client)
            raise
        everything: dict[str, Any] = {"write_concern": _WRITE, "read_preference": ReadPreference.PRIMARY}
        self._database = database
        self._conversations = database.get_collection(CONVERSATIONS, read_concern=_COMMITTED, **everything)
        self._messages = database.get_collection(MESSAGES, read_concern=_COMMITTED, **everything)
        self._profiles = database.get_collection(PROFILES, read_concern=_COMMITTED, **everything)
        self._newest = database.get_collection(CONVERSATIONS, read_concern=_NEWEST, **everything)
        self._client = client

    async def close(self) -> None:
        """Disconnect. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await _close(client)

    async def ping(self) -> None:
        """Ask the primary whether it is there."""
        await self._database.command("ping", read_preference=ReadPreference.PRIMARY)

    # --------------------------------------------------------------------------------------------------- messages

    async def write_messages(self, writes: Sequence[Document | Move]) -> int:
        """Insert and change messages durably and in order, up to the first whose key or number is taken, or that is not
        in the state that is to be changed; how many are done."""
        try:
            # In order: a row that is stored after a refused one would leave a hole.
            rows = [each for each in writes if not isinstance(each, Move)]
            if len(rows) == len(writes):
                await self._messages.insert_many(rows, ordered=True)
            else:
                await self._messages.bulk_write([_request(each) for each in writes], ordered=True)
        except BulkWriteError as error:
            failed = error.details["writeErrors"]
            if error.details["writeConcernErrors"] or [each["code"] for each in failed] != [_DUPLICATE_KEY]:
                raise
            return int(failed[0]["index"])
        return len(writes)

    async def find_places(self, places: Iterable[Place]) -> list[Document]:
        """The durable messages at these places."""
        return await self.find_messages(queries.places(places))

    async def find_stored(self, keys: Iterable[Key]) -> list[Document]:
        """The durable messages that have one of these keys."""
        return await self.find_messages(queries.stored_keys(keys))

    async def find_last(self, ids: Sequence[ConversationId]) -> list[Document]:
        """These conversations, each with its newest message, durable or not, as `documents.load_tail` reads them."""
        return await self._newest.aggregate(queries.with_last(ids, "created_at_ms", "folded")).to_list(None)

    async def find_messages(
        self, which: Document, fields: Document | None = None, *, sort: tuple[str, int] | None = None, limit: int = 0
    ) -> list[Document]:
        """Messages; `limit` 0: all of them."""
        return await _find(self._messages, which, fields, sort, limit)

    # ---------------------------------------------------------------------------------------------- conversations

    async def insert_conversation(self, document: Document) -> bool:
        """Insert a conversation durably; False if its id or its key is taken."""
        try:
            await self._conversations.insert_one(document)
        except DuplicateKeyError:
            return False
        return True

    async def find_conversation(self, which: Document, fields: Document | None = None) -> Document | None:
        """The conversation, or None."""
        return await self._conversations.find_one(which, fields)

    async def find_conversations(
        self, which: Document, fields: Document | None = None, *, sort: tuple[str, int] | None = None, limit: int = 0
    ) -> list[Document]:
        """Conversations; `limit` 0: all of them."""
        return await _find(self._conversations, which, fields, sort, limit)

    async def aggregate_conversations(self, stages: Sequence[Document]) -> list[Document]:
        """What a pipeline over conversations gives."""
        return await self._conversations.aggregate(list(stages)).to_list(None)

    async def change_conversation(self, which: Document, stage: Document) -> bool:
        """Change a conversation durably, by a stage of a pipeline; False if it is not in the state asked for."""
        return (await self._conversations.update_one(which, [stage])).matched_count == 1

    async def drop_pending(self, conversation_id: ConversationId, message_id: str) -> None:
        """Note that a pending message is stored."""
        which = {"_id": conversation_id, "pending.id": message_id}
        await self._conversations.update_one(which, {"$unset": {"pending": ""}})

    async def raise_fields(self, changes: Sequence[tuple[Document, Document]]) -> int:
        """Raise fields of conversations to these values, where they are lower: for each the state in which it must be,
        and its fields. How many changes did something."""
        updates = [UpdateOne(which, {"$max": fields}) for which, fields in changes]
        return (await self._conversations.bulk_write(updates, ordered=False)).modified_count

    async def set_settings(self, changes: Sequence[tuple[Part, Document]]) -> None:
        """Set fields of participants' entries under `settings`, in order; who has none gets one, and who takes no part
        none. Idempotent."""
        updates = []
        for (conversation_id, user_id), fields in changes:
            # Two steps, so that of two processes that make an entry at the same moment one finds the other's.
            which: Document = {"_id": conversation_id, "participants": user_id}
            updates += [
                UpdateOne({**which, "settings.user": {"$ne": user_id}}, {"$push": {"settings": {"user": user_id}}}),
                UpdateOne(
                    {**which, "settings.user": user_id},
                    {"$set": {f"settings.$.{name}": value for name, value in fields.items()}},
                ),
            ]
        await self._conversations.bulk_write(updates)

    # --------------------------------------------------------------------------------------------------- profiles

    async def find_profiles(
        self, which: Document, *, sort: tuple[str, int] | None = None, limit: int = 0
    ) -> list[Document]:
        """Profiles; `limit` 0: all of them."""
        return await _find(self._profiles, which, None, sort, limit)

    async def set_profiles(self, changes: Sequence[tuple[UserId, Document]]) -> None:
        """Set fields of profiles, in order; those that do not exist are made. Idempotent."""
        updates = [_upsert(user_id, fields) for user_id, fields in changes]
        try:
            await self._profiles.bulk_write(updates)
        except BulkWriteError as error:
            # Another process has made a profile at the same moment: now it is there.
            if [each["code"] for each in error.details["writeErrors"]] != [_DUPLICATE_KEY]:
                raise
            await self._profiles.bulk_write(updates)

    async def count(self) -> tuple[int, int, int]:
        """How many conversations, messages and profiles there are."""
        return (
            await self._conversations.count_documents({}, hint="_id_"),
            await self._messages.count_documents({}, hint="_id_"),
            await self._profiles.count_documents({}, hint="_id_"),
        )


def _request(write: Document | Move) -> InsertOne[Document] | UpdateOne:
    if isinstance(write, Move):
        # An upsert, because one that finds nothing must be refused too: its _id is taken.
        return UpdateOne(write.which, {"$set": write.changes}, upsert=True)
    return InsertOne(write)


def _upsert(user_id: UserId, fields: Document) -> UpdateOne:
    # An update without a field is none to MongoDB; the id that is there already changes nothing.
    return UpdateOne({"_id": user_id}, {"$set": fields} if fields else {"$setOnInsert": {"_id": user_id}}, upsert=True)


async def _find(
    collection: AsyncIOMotorCollection[Document],
    which: Document,
    fields: Document | None,
    sort: tuple[str, int] | None,
    limit: int,
) -> list[Document]:
    return await collection.find(which, fields, sort=None if sort is None else [sort], limit=limit).to_list(None)


async def _close(client: AsyncIOMotorClient[Document]) -> None:
    # In a thread: it says goodbye to the server, and motor 3.7 lets the event loop wait for that.
    await asyncio.to_thread(client.close)


async def _ensure(collection: AsyncIOMotorCollection[Document], index: Index) -> None:
    """Make an index, or check that the one of that name is what it must be: the promises rest on the unique ones."""
    found: Mapping[str, Any] = {each["name"]: each for each in await collection.list_indexes().to_list(None)}
    if index.name not in found:
        try:
            await collection.create_index([(key, 1) for key in index.keys], **index.options())
        except OperationFailure as error:
            raise StoreUnusable(
                f"The index {index.name} on {', '.join(index.keys)} of the MongoDB collection {collection.full_name} "
                f"cannot be made: {error}"
            ) from error
    elif not index.fits(found[index.name]):
        wanted = f"{'unique ' if index.unique else ''}on {', '.join(index.keys)}"
        raise StoreUnusable(
            f"The index {index.name} of the MongoDB collection {collection.full_name} is not the one that this server "
            f"needs ({wanted}); drop it and start again."
        )
