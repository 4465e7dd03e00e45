"use client";
// The chat in React: a provider, and a hook for each thing that one shows. They render on a server too, as not connected.
import { createContext, createElement, useContext, useEffect, useMemo, useSyncExternalStore } from "react";

/** @import { ReactNode } from "react" */
/** @import { Chat, Status } from "./chat.js" */
/** @import { Profile } from "./wire.js" */
/** @import { ListState } from "./list.js" */
/** @import { Room, RoomState } from "./room.js" */

const ChatContext = createContext(/** @type {Chat | null} */ (null));

/** How many providers hold a chat, and the end of the turn in which the last one let go. @type {WeakMap<Chat, {count: number, ending: any}>} */
const held = new WeakMap();

/**
 * Connect while mounted. Letting go waits for the end of the turn: StrictMode, which mounts twice, has one connection.
 *
 * @param {{chat: Chat, children?: ReactNode}} props  `chat` from `createChat`, made once and outside of rendering
 */
export function ChatProvider({ chat, children }) {
  useEffect(() => {
    const hold = held.get(chat) ?? { count: 0, ending: undefined };
    held.set(chat, hold);
    hold.count += 1;
    clearTimeout(hold.ending);
    chat.connect();
    return () => {
      hold.count -= 1;
      hold.ending = setTimeout(() => hold.count === 0 && chat.disconnect());
    };
  }, [chat]);
  return createElement(ChatContext.Provider, { value: chat }, children);
}

/** @returns {Chat} */
export function useChat() {
  const chat = useContext(ChatContext);
  if (chat === null) throw new Error("useChat needs a <ChatProvider> above it.");
  return chat;
}

/** @returns {Status} */
export function useStatus() {
  const chat = useChat();
  return useSyncExternalStore(chat.subscribe, chat.snapshot, chat.snapshot);
}

/** How users are shown, by user id. @returns {ReadonlyMap<string, Profile>} */
export function useProfiles() {
  const { profiles } = useChat();
  return useSyncExternalStore(profiles.subscribe, profiles.snapshot, profiles.snapshot);
}

/** The list, and `loadMore`. @returns {ListState & {loadMore: () => Promise<void>}} */
export function useConversations() {
  const { conversations } = useChat();
  const { subscribe, snapshot, loadMore } = conversations;
  const state = useSyncExternalStore(subscribe, snapshot, snapshot);
  return useMemo(() => ({ ...state, loadMore }), [state, loadMore]);
}

/** What one can do in a conversation. */
const ACTIONS = /** @type {const} */ ([
  ...["send", "edit", "remove", "react", "retry", "discard", "loadOlder", "markRead", "setTyping", "updateSettings"],
  ...["addParticipants", "removeParticipant", "leave", "setRole", "update"],
]);
/** @typedef {(typeof ACTIONS)[number]} Action */

/**
 * One conversation, open while mounted: its state, and what one can do. Several components may have the same one open.
 *
 * @param {string} id
 * @param {{visible?: boolean}} [how]  whether its newest messages are on the screen, so that they count as read
 * @returns {RoomState & Pick<Room, Action>}
 */
export function useConversation(id, { visible = true } = {}) {
  const room = useChat().room(id);
  const state = useSyncExternalStore(room.subscribe, room.snapshot, room.snapshot);
  useEffect(() => room.hold(visible).release, [room, visible]);
  return useMemo(() => {
    const actions = /** @type {Pick<Room, Action>} */ (Object.fromEntries(ACTIONS.map((name) => [name, room[name]])));
    return { ...state, ...actions };
  }, [state, room]);
}
