/** The whole chat: the list of conversations beside the open one; on a phone one or the other. */
import { useEffect, useRef, useState, useSyncExternalStore, type KeyboardEvent } from "react";
import { useConversations } from "chat-socketserver-client/react";
import type { User } from "chat-socketserver-client/wire";
import { ChatWindow } from "./ChatWindow";
import { useDrafts } from "./drafts";
import { NewConversation } from "./NewConversation";
import { Avatar, Icon, listTime, Mark, titleOf, type Item } from "./ui";
import { WebSocketBar, WebSocketStatus } from "./WebSocketStatus";

/** The open conversation is in the address: it survives a reload, and the phone's back button closes it. */
function useOpenId(): [string | null, (id: string | null) => void] {
  const hash = useSyncExternalStore(
    (listener) => {
      window.addEventListener("hashchange", listener);
      return () => window.removeEventListener("hashchange", listener);
    },
    () => location.hash.slice(1),
  );
  const open = (id: string | null) => {
    location.hash = id ?? "";
  };
  return [hash || null, open];
}

export function MessagesPage({ me, onLogOut }: { me: User; onLogOut: () => void }) {
  const { items, loaded, hasMore, loadMore, unreadTotal } = useConversations();
  const drafts = useDrafts();
  const [openId, open] = useOpenId();
  const [creating, setCreating] = useState(false);
  const list = useRef<HTMLUListElement>(null);

  useEffect(() => {
    document.title = unreadTotal > 0 ? `(${unreadTotal}) Messages` : "Messages";
  }, [unreadTotal]);

  const focusItem = (id: string | null) => {
    list.current?.querySelector<HTMLElement>(`[data-id="${CSS.escape(id ?? "")}"]`)?.focus();
  };
  const moveFocus = (event: KeyboardEvent) => {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step === undefined) return;
    const buttons = [...(list.current?.querySelectorAll("button") ?? [])];
    buttons[buttons.indexOf(event.target as HTMLButtonElement) + step]?.focus();
    event.preventDefault();
  };

  return (
    <div className="shell" data-view={openId === null ? "list" : "chat"}>
      <WebSocketBar />
      <aside className="sidebar" aria-label="Conversations">
        <header className="me">
          <Avatar name={me.name} />
          <div className="me-text">
            <strong dir="auto">{me.name}</strong>
            <WebSocketStatus />
          </div>
          <button className="icon-button" type="button" aria-label="Log out" title="Log out" onClick={onLogOut}>
            <Icon name="leave" />
          </button>
          <button
            className="icon-button filled"
            type="button"
            aria-label="New conversation"
            title="New conversation"
            onClick={() => setCreating(true)}
          >
            <Icon name="plus" />
          </button>
        </header>
        <ul className="list" ref={list} onKeyDown={moveFocus}>
          {items.map((item) => (
            <li key={item.id}>
              <ListItem
                item={item}
                me={me}
                draft={item.id === openId ? "" : (drafts[item.id] ?? "")}
                current={item.id === openId}
                onOpen={() => open(item.id)}
              />
            </li>
          ))}
          {hasMore && (
            <li>
              <button className="more" type="button" onClick={() => void loadMore()}>
                Earlier conversations
              </button>
            </li>
          )}
        </ul>
        {loaded && items.length === 0 && <p className="list-empty">No conversations yet. Start one with the plus.</p>}
      </aside>
      <main className="chat">
        {openId === null ? (
          <div className="nothing">
            <Mark />
            <p>Choose a conversation, or start a new one.</p>
          </div>
        ) : (
          <ChatWindow
            key={openId}
            conversationId={openId}
            me={me}
            item={items.find((item) => item.id === openId)}
            onBack={() => {
              focusItem(openId);
              open(null);
            }}
          />
        )}
      </main>
      {creating && (
        <NewConversation
          onClose={() => setCreating(false)}
          onCreated={({ id }) => open(id)}
        />
      )}
    </div>
  );
}

interface ListItemProps {
  item: Item;
  me: User;
  /** What was begun there and not sent. */
  draft: string;
  current: boolean;
  onOpen: () => void;
}

function ListItem({ item, me, draft, current, onOpen }: ListItemProps) {
  const { preview, online, unreadCount: unread } = item;
  const title = titleOf(item, me.id);
  const group = item.kind === "group";
  const sender = preview?.senderId === me.id ? "You: " : group && preview ? `${preview.senderId}: ` : "";
  return (
    <button
      className={unread > 0 ? "item unread" : "item"}
      type="button"
      data-id={item.id}
      aria-current={current}
      onClick={onOpen}
    >
      <Avatar name={title} group={group} online={group ? undefined : online} />
      <span className="item-body">
        <span className="item-line">
          <span className="item-title" dir="auto">
            {title}
          </span>
          <time className="item-time" dateTime={new Date(item.activityAt).toISOString()}>
            {listTime(item.activityAt)}
          </time>
        </span>
        <span className="item-line">
          <span className="item-text">
            {draft !== "" && <strong>Draft: </strong>}
            {draft || (preview ? `${sender}${preview.text}` : "No messages yet")}
          </span>
          {unread > 0 && (
            <span className="badge">
              {unread}
              <span className="visually-hidden"> unread</span>
            </span>
          )}
        </span>
      </span>
    </button>
  );
}
