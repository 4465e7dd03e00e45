/** One conversation on the screen: header, history, who types, and the field to write in. */
import { useRef, useState } from "react";
import { useConversation, useProfiles } from "chat-socketserver-client/react";
import type { Message, Participant, User } from "chat-socketserver-client/wire";
import { nameOf, titleOf, type Profiles } from "../../shared/names.js";
import { clockTime, dayInWords } from "../../shared/times.js";
import { listOf, words } from "../../shared/words.js";
import { Composer } from "./Composer";
import { History, type HistoryHandle } from "./History";
import { Avatar, Icon, type Item } from "./ui";

interface Props {
  conversationId: string;
  me: User;
  /** What the list knows of it; undefined before the list has arrived. */
  item: Item | undefined;
  onBack: () => void;
}

export function ChatWindow({ conversationId, me, item, onBack }: Props) {
  const [caughtUp, setCaughtUp] = useState(false);
  const room = useConversation(conversationId, { visible: caughtUp });
  const profiles = useProfiles();
  const history = useRef<HistoryHandle>(null);
  const { participants, typing, joined, setTyping, send } = room;

  const others = participants.filter((each) => each.userId !== me.id);
  const conversation = item ?? room.conversation;
  const group = conversation ? conversation.kind === "group" : others.length > 1;
  const peer = group ? undefined : conversation?.participantIds.find((id) => id !== me.id);
  const title = conversation ? titleOf(conversation, me.id, profiles) : "…";
  const count = room.conversation?.participantCount ?? 0;

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
      </header>
      <History
        ref={history}
        conversationId={conversationId}
        me={me.id}
        profiles={profiles}
        room={room}
        readByAll={readByAll}
        onCaughtUp={setCaughtUp}
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
        conversationId={conversationId}
        onTyping={setTyping}
        onSend={(body) => {
          history.current?.toEnd();
          try {
            send(body);
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
  if (only && others.length === 1) {
    if (only.online) return words.online;
    if (profiles.get(only.userId)?.known === false) return words.neverHere;
    if (only.lastSeenAt === null) return words.offline;
    return words.lastSeen(`${dayInWords(only.lastSeenAt)}, ${clockTime(only.lastSeenAt)}`);
  }
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
