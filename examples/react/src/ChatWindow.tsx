/** One conversation on the screen: header, history, who types, and the field to write in. */
import { useEffect, useRef, useState } from "react";
import { useConversation, useProfiles, useStatus } from "chat-socketserver-client/react";
import type { Message, Participant, User } from "chat-socketserver-client/wire";
import { nameOf, titleOf, type Profiles } from "../../shared/names.js";
import { listOf, words } from "../../shared/words.js";
import { isStored, type Row } from "./Bubble";
import { ConversationMenu } from "./ConversationMenu";
import { Composer } from "./Composer";
import { History, type HistoryHandle } from "./History";
import { mayChange } from "../../shared/may.js";
import { whereabouts } from "./PeoplePanel";
import { Avatar, Icon, type Item } from "./ui";

interface Props {
  conversationId: string;
  me: User;
  /** What the list knows of it; undefined before the list has arrived. */
  item: Item | undefined;
  onBack: () => void;
  /** One takes part no more: what to say of it. */
  onGone: (sentence: string) => void;
}

export function ChatWindow({ conversationId, me, item, onBack, onGone }: Props) {
  const [caughtUp, setCaughtUp] = useState(false);
  const room = useConversation(conversationId, { visible: caughtUp });
  const profiles = useProfiles();
  const history = useRef<HistoryHandle>(null);
  const { limits } = useStatus();
  const { participants, typing, joined, setTyping, send, edit } = room;
  // What is being written, if it is not simply a new message.
  const [task, setTask] = useState<{ kind: "edit" | "reply"; row: Row } | null>(null);

  const others = participants.filter((each) => each.userId !== me.id);
  const conversation = item ?? room.conversation;
  const group = conversation ? conversation.kind === "group" : others.length > 1;
  const peer = group ? undefined : conversation?.participantIds.find((id) => id !== me.id);
  const title = conversation ? titleOf(conversation, me.id, profiles) : "…";
  const count = room.conversation?.participantCount ?? 0;

  // Of what happens here only: who was removed once, and is added again, has a room that remembers it until it is joined.
  const { removed } = room;
  const before = useRef(removed);
  useEffect(() => {
    if (removed !== null && before.current === null) onGone(words.gone[removed](title));
    before.current = removed;
  });

  const people = others.map(({ userId }) => ({ userId, name: nameOf(profiles, userId) }));
  const subject = task && (isStored(task.row) ? nameOf(profiles, task.row.senderId) : nameOf(profiles, me.id));
  const editLast = () => {
    const last = [...room.messages, ...room.pending].findLast((row) => mayChange(row, me.id, limits?.editWindowS));
    if (last) setTask({ kind: "edit", row: last });
  };
  const write = (body: string, mentions: string[]) => {
    const which = task && (isStored(task.row) ? task.row.seq : task.row.key);
    if (task?.kind === "edit" && which !== null) edit(which, body, { mentions, metadata: task.row.metadata }).stored.catch(() => undefined);
    else send(body, { mentions, ...(typeof which === "number" && { replyTo: which }) });
  };

  // What has been read by others, as a number: rows change only when their own state does.
  const known = others.length > 0 && participants.length >= count;
  const readByAll = known ? Math.min(...others.map((each) => each.readSeq)) : 0;

  return (
    <section
      className={group ? "conversation is-group" : "conversation"}
      aria-labelledby="title"
      onKeyDown={(event) => {
        if (event.key === "Escape") onBack();
      }}
    >
      <header className="chat-head">
        <button className="icon-button back" type="button" aria-label={words.back} onClick={onBack}>
          <Icon name="back" />
        </button>
        <Avatar id={peer ?? conversationId} name={title} picture={peer && profiles.get(peer)?.avatar} group={group} />
        <div className="chat-head-text">
          <h1 id="title" dir="auto">
            {title}
          </h1>
          <p className="subtitle">
            {joined ? subtitle(others, count, profiles) : room.cursor === null ? " " : words.notConnected}
          </p>
        </div>
        <ConversationMenu room={room} me={me.id} group={group} onAway={onBack} />
      </header>
      <History
        ref={history}
        conversationId={conversationId}
        me={me.id}
        profiles={profiles}
        room={room}
        readByAll={readByAll}
        onCaughtUp={setCaughtUp}
        onReply={(row) => setTask({ kind: "reply", row })}
        onEdit={(row) => setTask({ kind: "edit", row })}
      />
      <p className="column typing" role="status">
        {typing.length > 0 && (
          <>
            <span className="dots" aria-hidden="true">
              <i />
              <i />
              <i />
            </span>
            {words.typing(listOf(typing.map((id) => nameOf(profiles, id))), typing.length)}
          </>
        )}
      </p>
      <Composer
        key={task?.kind === "edit" ? (isStored(task.row) ? task.row.seq : task.row.key) : "new"}
        conversationId={conversationId}
        task={task && { kind: task.kind, title: task.kind === "edit" ? words.editing : words.replyingTo(subject ?? ""), text: task.row.body }}
        people={people}
        onTyping={setTyping}
        onEditLast={editLast}
        onCancel={() => setTask(null)}
        onSend={(body, mentions) => {
          if (task?.kind !== "edit") history.current?.toEnd();
          try {
            write(body, mentions);
            setTask(null);
            return true;
          } catch {
            return false; // too many wait already
          }
        }}
      />
      {room.cursor !== null && <Announcer me={me.id} profiles={profiles} newest={room.messages.at(-1)} />}
    </section>
  );
}

function subtitle(others: readonly Participant[], count: number, profiles: Profiles): string {
  const [only] = others;
  if (only && others.length === 1) return whereabouts(only, profiles);
  return words.people(count, others.filter((each) => each.online).length);
}

/** Reads new messages out to a screen reader; the history itself would be read again at every change. */
function Announcer({ me, profiles, newest }: { me: string; profiles: Profiles; newest: Message | undefined }) {
  const [first] = useState(newest?.seq);
  return (
    <p className="visually-hidden" role="log" aria-live="polite">
      {newest && newest.seq !== first && newest.senderId !== me && `${nameOf(profiles, newest.senderId)}: ${newest.body}`}
    </p>
  );
}
