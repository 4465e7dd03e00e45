/** The whole chat: the list of conversations beside the open one; on a phone one or the other. */
import { useEffect, useRef, useState, useSyncExternalStore, type KeyboardEvent } from "react";
import { ChatWindow } from "./ChatWindow";
import { NewConversation } from "./NewConversation";
import { Avatar, Icon, listTime, Mark, titleOf } from "./ui";
import { useConversations, type Item } from "./useConversations";
import { useWebSocket } from "./WebSocketContext";
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

export function MessagesPage({ onLogOut }: { onLogOut: () => void }) {
  const { me } = useWebSocket();
  const { items, online, loaded, loadMore, add } = useConversations();
  const [openId, open] = useOpenId();
  const [creating, setCreating] = useState(false);
  /** Whether the newest messages of the open conversation are on the screen: then they count as read at once. */
  const [reading, setReading] = useState(false);
  const list = useRef<HTMLUListElement>(null);

  const unread = (item: Item) => (reading && item.id === openId ? 0 : item.lastSeq - item.readSeq);
  const total = items.reduce((sum, item) => sum + unread(item), 0);
  useEffect(() => {
    document.title = total > 0 ? `(${total}) Messages` : "Messages";
  }, [total]);

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
                unread={unread(item)}
                online={item.kind === "direct" && item.participantIds.some((id) => id !== me.id && online.get(id) === true)}
                current={item.id === openId}
                onOpen={() => open(item.id)}
              />
            </li>
          ))}
          {loadMore && (
            <li>
              <button className="more" type="button" onClick={loadMore}>
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
            item={items.find((item) => item.id === openId)}
            onReading={setReading}
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
          onCreated={(conversation) => {
            add(conversation);
            open(conversation.id);
          }}
        />
      )}
    </div>
  );
}

interface ListItemProps {
  item: Item;
  unread: number;
  online: boolean;
  current: boolean;
  onOpen: () => void;
}

function ListItem({ item, unread, online, current, onOpen }: ListItemProps) {
  const { me } = useWebSocket();
  const { preview } = item;
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
          <span className="item-text">{preview ? `${sender}${preview.text}` : "No messages yet"}</span>
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
