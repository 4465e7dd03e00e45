"use client";

import { useConversation, useConversations, useProfiles } from "chat-socketserver-client/react";
import Link from "next/link";
import { useRef, useState } from "react";
import { nameOf, titleOf } from "@/lib/names";
import { Bubble } from "./Bubble";
import { Composer } from "./Composer";
import { useWords } from "./Language";

const NEAR_END_PX = 60;

/** One conversation: who is in it, what was said, who types, and the field to write in. */
export function Conversation({ id }: { id: string }) {
  const words = useWords();
  const [atEnd, setAtEnd] = useState(true);
  const room = useConversation(id, { visible: atEnd }); // what is on the screen counts as read
  const { messages, pending, participants, typing, joined, error, hasOlder, me } = room;
  const profiles = useProfiles();
  const item = useConversations().items.find((each) => each.id === id);
  const end = useRef<HTMLDivElement>(null);
  const toEnd = () => end.current?.scrollIntoView();

  const others = participants.filter(({ userId }) => userId !== me);
  const conversation = room.conversation ?? item;
  const all = participants.length === conversation?.participantCount; // of a large group the others are on their way
  const readByAll = all && others.length > 0 ? Math.min(...others.map(({ readSeq }) => readSeq)) : 0;
  const newest = messages.at(-1);
  const [other] = others;
  const presence = other && conversation?.kind === "direct" ? (other.online ? words.online : words.offline) : "";

  return (
    <section className="conversation" data-kind={conversation?.kind} aria-labelledby="title">
      <header>
        <Link className="back" href="/messages" aria-label={words.back}>
          ←
        </Link>
        <h1 id="title" dir="auto">
          {conversation ? titleOf(conversation, me, profiles, words) : "…"}
        </h1>
        <small>{joined ? presence : words.notConnected}</small>
      </header>
      {/* Laid out from its end (column-reverse), so that what loads above moves nothing. */}
      <div
        className="scroller"
        tabIndex={0}
        role="region"
        aria-labelledby="title"
        onScroll={({ currentTarget }) => setAtEnd(currentTarget.scrollTop > -NEAR_END_PX)}
      >
        <div ref={end} />
        <ol aria-label={words.history}>
          {messages.map(({ idempotencyKey, senderId, body, createdAt, seq, deletedAt }, i) => (
            <Bubble
              key={`${senderId} ${idempotencyKey}`} // the one that waited becomes the stored one, in place
              conversationId={id}
              messageKey={idempotencyKey}
              author={senderId === me ? null : nameOf(senderId, profiles)}
              body={deletedAt === undefined ? body : words.deleted}
              createdAt={createdAt}
              previousAt={messages[i - 1]?.createdAt ?? null}
              state={seq <= readByAll ? "read" : "sent"}
              problem={null}
            />
          ))}
          {pending.map(({ key, body, createdAt, error: wrong }) => (
            <Bubble
              key={`${me} ${key}`}
              conversationId={id}
              messageKey={key}
              author={null}
              body={body}
              createdAt={createdAt}
              previousAt={newest?.createdAt ?? null}
              state={wrong ? "notSent" : "sending"}
              problem={wrong?.message ?? null}
            />
          ))}
        </ol>
        {hasOlder && <button onClick={() => void room.loadOlder()}>{words.earlier}</button>}
        {error && <p role="alert">{error.code === "conversation_not_found" ? words.notFound : error.message}</p>}
      </div>
      {!atEnd && (
        <button className="to-end" onClick={toEnd}>
          {words.newest}
        </button>
      )}
      <p className="typing" role="status">
        {typing.length > 0 && words.typing(typing.map((userId) => nameOf(userId, profiles)).join(words.and), typing.length)}
      </p>
      <Composer
        onTyping={room.setTyping}
        onSend={(body) => {
          room.send(body);
          toEnd();
        }}
      />
      {joined && <Announcer seq={newest?.seq ?? 0} text={newest && newest.senderId !== me ? `${nameOf(newest.senderId, profiles)}: ${newest.body}` : ""} />}
    </section>
  );
}

/** Has a screen reader say what is new; the history itself would be read out as a whole. */
function Announcer({ seq, text }: { seq: number; text: string }) {
  const [first] = useState(seq);
  return (
    <p className="hidden" role="log">
      {seq > first && text}
    </p>
  );
}
