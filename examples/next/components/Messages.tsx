"use client";

import { createChat } from "chat-socketserver-client";
import { ChatProvider, useChat, useConversations } from "chat-socketserver-client/react";
import type { User } from "chat-socketserver-client/wire";
import { useSelectedLayoutSegment } from "next/navigation";
import { useState, type ReactNode } from "react";
import { logOut } from "@/app/actions";
import { SERVER_URL } from "@/lib/server";
import { Connection } from "./Connection";
import { ConversationList } from "./ConversationList";
import { useWords } from "./Language";
import { NewConversation } from "./NewConversation";

async function getToken(): Promise<string> {
  const response = await fetch("/api/token", { cache: "no-store" });
  if (!response.ok) throw new Error(`No token: ${response.status}.`);
  return ((await response.json()) as { token: string }).token;
}

/** The list beside what is open, and the one connection for both; on a phone one or the other. */
export function Messages({ me, children }: { me: User; children: ReactNode }) {
  const [chat] = useState(() => createChat({ url: SERVER_URL, user: me, getToken }));
  const open = useSelectedLayoutSegment();
  return (
    <ChatProvider chat={chat}>
      <div className="shell" data-view={open === null ? "list" : "chat"}>
        <Connection />
        <Title />
        <aside>
          <header>
            <strong dir="auto">{me.name}</strong>
            <LogOut />
          </header>
          <NewConversation />
          <ConversationList me={me} open={open} />
        </aside>
        <main>{children}</main>
      </div>
    </ChatProvider>
  );
}

function Title() {
  const words = useWords();
  const { unreadConversations: unread } = useConversations();
  return <title>{unread > 0 ? `(${unread}) ${words.messages}` : words.messages}</title>;
}

function LogOut() {
  const words = useWords();
  const chat = useChat();
  return (
    <form
      action={async () => {
        await chat.logOut(); // forgets what was kept of this user on this machine
        await logOut();
      }}
    >
      <button>{words.logOut}</button>
    </form>
  );
}

export function Nothing() {
  return <p className="nothing">{useWords().choose}</p>;
}
