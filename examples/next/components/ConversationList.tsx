"use client";

import { useConversations, useProfiles } from "chat-socketserver-client/react";
import type { User } from "chat-socketserver-client/wire";
import Link from "next/link";
import { titleOf } from "@/lib/names";
import { useWords } from "./Language";

/** Most recent first, with who is there and how much is unread. */
export function ConversationList({ me, open }: { me: User; open: string | null }) {
  const words = useWords();
  const { items, loaded, hasMore, loadMore } = useConversations();
  const profiles = useProfiles();
  return (
    <nav aria-label={words.conversations}>
      <ul>
        {items.map((item) => {
          const { id, preview, unreadCount, online, kind } = item;
          return (
            <li key={id}>
              <Link href={`/messages/${id}`} aria-current={id === open ? "page" : undefined} prefetch={false}>
                <strong dir="auto">{titleOf(item, me.id, profiles, words)}</strong>
                {kind === "direct" && online && <span className="online">{words.online}</span>}
                <span className="preview" dir="auto">
                  {preview === null ? words.noMessages : `${preview.senderId === me.id ? `${words.you}: ` : ""}${preview.text}`}
                </span>
                {unreadCount > 0 && (
                  <span className="badge" aria-label={words.unread(unreadCount)} role="img">
                    {unreadCount}
                  </span>
                )}
              </Link>
            </li>
          );
        })}
      </ul>
      {loaded && items.length === 0 && <p className="nothing">{words.none}</p>}
      {hasMore && <button onClick={() => void loadMore()}>{words.earlier}</button>}
    </nav>
  );
}
