/** The whole chat: the list of conversations beside the open one; on a phone one or the other. */
import { useEffect, useRef, useState, useSyncExternalStore, type KeyboardEvent } from "react";
import { useConversations, useProfiles } from "chat-socketserver-client/react";
import type { User } from "chat-socketserver-client/wire";
import { nameOf, plain, titleOf, type Profiles } from "../../shared/names.js";
import { setNotifying } from "../../shared/notifications.js";
import { listTime } from "../../shared/times.js";
import { words } from "../../shared/words.js";
import { ChatWindow } from "./ChatWindow";
import { useDrafts } from "./drafts";
import { NewConversation } from "./NewConversation";
import { useNotifications, useNotifying } from "./notifications";
import { Avatar, Icon, Mark, type Item } from "./ui";
import { WebSocketBar, WebSocketStatus } from "./WebSocketStatus";

const followers = new Set<() => void>();

/**
 * The open conversation is in the address: it survives a reload, and the browser's back button closes it. Going from one
 * conversation to another replaces the address: back leads to the list, and not through everything that was read.
 */
function useOpenId(): [string | null, (id: string | null) => void] {
  const hash = useSyncExternalStore(
    (listener) => {
      followers.add(listener);
      window.addEventListener("popstate", listener);
      return () => {
        followers.delete(listener);
        window.removeEventListener("popstate", listener);
      };
    },
    () => location.hash.slice(1),
  );
  const open = (id: string | null) => {
    const address = location.pathname + location.search + (id === null ? "" : `#${id}`);
    const state = history.state as { fromList?: boolean } | null;
    if (id === null && state?.fromList) history.back();
    else if (id === null || location.hash.length > 1) history.replaceState(state, "", address);
    else history.pushState({ fromList: true }, "", address);
    for (const follow of followers) follow();
  };
  return [hash || null, open];
}

export function MessagesPage({ me, onLogOut }: { me: User; onLogOut: () => void }) {
  const { items, archived, loaded, hasMore, loadMore, unreadConversations } = useConversations();
  const profiles = useProfiles();
  const drafts = useDrafts();
  const [openId, open] = useOpenId();
  const [creating, setCreating] = useState(false);
  const [filter, setFilter] = useState("");
  const [unfolded, setUnfolded] = useState(false); // the archived ones show too
  const [gone, setGone] = useState(""); // where one takes part no more, as a sentence
  const list = useRef<HTMLUListElement>(null);
  const own = profiles.get(me.id);

  useNotifications(items, me.id, openId, open);

  useEffect(() => {
    document.title = unreadConversations > 0 ? `(${unreadConversations}) ${words.messages}` : words.messages;
  }, [unreadConversations]);

  // Whoever searches wants all conversations, not those of the first page only.
  const searching = filter.trim() !== "";
  useEffect(() => {
    if (searching && hasMore) void loadMore();
  }, [searching, hasMore, items, loadMore]);
  const all = [...items, ...archived];
  const shown = searching
    ? all.filter((item) => matches(item, plain(filter.trim()), me.id, profiles))
    : unfolded
      ? all
      : items;

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
      <aside className="sidebar" aria-label={words.conversations}>
        <header className="me">
          <Avatar id={me.id} name={own?.name ?? me.name} picture={own?.avatar ?? me.avatar} />
          <div className="me-text">
            <strong dir="auto">{own?.name ?? me.name}</strong>
            <WebSocketStatus />
          </div>
          <NotifyButton />
          <button className="icon-button" type="button" aria-label={words.logOut} title={words.logOut} onClick={onLogOut}>
            <Icon name="leave" />
          </button>
          <button
            className="icon-button filled"
            type="button"
            aria-label={words.newConversation}
            title={words.newConversation}
            onClick={() => setCreating(true)}
          >
            <Icon name="plus" />
          </button>
        </header>
        <search className="filter">
          <Icon name="search" />
          <input
            type="search"
            aria-label={words.filter}
            placeholder={words.filter}
            value={filter}
            onChange={(event) => setFilter(event.target.value)}
            onKeyDown={(event) => {
              if (event.key === "Escape") setFilter("");
              else if (event.key === "ArrowDown") list.current?.querySelector("button")?.focus();
              else return;
              event.preventDefault();
            }}
          />
        </search>
        <div className="gone" role="status">
          {gone !== "" && (
            <>
              <p dir="auto">{gone}</p>
              <button className="icon-button" type="button" aria-label={words.close} autoFocus onClick={() => setGone("")}>
                <Icon name="close" />
              </button>
            </>
          )}
        </div>
        <ul className="list" ref={list} onKeyDown={moveFocus}>
          {shown.map((item) => (
            <li key={item.id}>
              <ListItem
                item={item}
                me={me.id}
                profiles={profiles}
                draft={item.id === openId ? "" : (drafts[item.id] ?? "")}
                current={item.id === openId}
                onOpen={() => {
                  setGone("");
                  open(item.id);
                }}
              />
            </li>
          ))}
          {archived.length > 0 && !searching && (
            <li>
              <button className="more" type="button" aria-expanded={unfolded} onClick={() => setUnfolded(!unfolded)}>
                {words.archived(archived.length)}
              </button>
            </li>
          )}
          {hasMore && !searching && (
            <li>
              <button className="more" type="button" onClick={() => void loadMore()}>
                {words.earlier}
              </button>
            </li>
          )}
        </ul>
        <p className="list-empty" role="status">
          {searching && shown.length === 0 && !hasMore && words.noneOfThatName}
          {!searching && loaded && items.length === 0 && words.none}
        </p>
      </aside>
      <main className="chat">
        {openId === null ? (
          <div className="nothing">
            <Mark />
            <p>{words.choose}</p>
          </div>
        ) : (
          <ChatWindow
            key={openId}
            conversationId={openId}
            me={me}
            item={all.find((item) => item.id === openId)}
            onBack={() => {
              focusItem(openId);
              open(null);
            }}
            onGone={(sentence) => {
              setGone(sentence);
              open(null);
            }}
          />
        )}
      </main>
      {creating && <NewConversation onClose={() => setCreating(false)} onCreated={({ id }) => open(id)} />}
    </div>
  );
}

/** By title, and by the names and ids of those in it. */
function matches(item: Item, text: string, me: string, profiles: Profiles): boolean {
  const people = item.participantIds.filter((id) => id !== me).flatMap((id) => [id, nameOf(profiles, id)]);
  return [titleOf(item, me, profiles), ...people].some((name) => plain(name).includes(text));
}

function NotifyButton() {
  const on = useNotifying();
  const [refused, setRefused] = useState(false);
  if (on === null) return null;
  const label = refused ? words.notifyRefused : on ? words.notifying : words.notify;
  return (
    <button
      className={on ? "icon-button on" : "icon-button"}
      type="button"
      aria-label={words.notify}
      aria-pressed={on}
      title={label}
      onClick={() => {
        void setNotifying(!on).then((allowed) => setRefused(!allowed));
      }}
    >
      <Icon name="bell" />
      <span className="visually-hidden" role="status">
        {refused && words.notifyRefused}
      </span>
    </button>
  );
}

interface ListItemProps {
  item: Item;
  me: string;
  profiles: Profiles;
  /** What was begun there and not sent. */
  draft: string;
  current: boolean;
  onOpen: () => void;
}

function ListItem({ item, me, profiles, draft, current, onOpen }: ListItemProps) {
  const { preview, online, unreadCount: unread } = item;
  const { muted, pinned, markedUnread } = item.settings;
  const title = titleOf(item, me, profiles);
  const group = item.kind === "group";
  const peer = group ? undefined : item.participantIds.find((id) => id !== me);
  const author = preview?.senderId === me ? words.you : group && preview ? nameOf(profiles, preview.senderId) : "";
  return (
    <button
      className={unread > 0 || markedUnread ? "item unread" : "item"}
      type="button"
      data-id={item.id}
      aria-current={current}
      onClick={onOpen}
    >
      <Avatar
        id={peer ?? item.id}
        name={title}
        picture={peer && profiles.get(peer)?.avatar}
        group={group}
        online={group ? undefined : online}
      />
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
            {draft !== "" && <strong>{words.draft}: </strong>}
            {draft || (preview ? `${author && `${author}: `}${preview.text}` : words.noMessages)}
          </span>
          {pinned && <Icon name="pin" label={words.pinned} />}
          {muted && <Icon name="muted" label={words.muted} />}
          {item.unreadMentions > 0 && (
            <span className="badge">
              <span aria-hidden="true">@</span>
              <span className="visually-hidden">{words.mentioned}</span>
            </span>
          )}
          {(unread > 0 || markedUnread) && (
            <span className={muted ? "badge quiet" : "badge"}>
              {unread > 0 ? unread : <span aria-hidden="true">•</span>}
              <span className="visually-hidden"> {unread > 0 ? words.unread(unread) : words.markedUnread}</span>
            </span>
          )}
        </span>
      </span>
    </button>
  );
}
