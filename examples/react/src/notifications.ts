/** Desktop notifications: off until the user asks for them, and silent about what is on the screen already. */
import { useEffect, useEffectEvent, useRef, useSyncExternalStore } from "react";
import { useProfiles } from "chat-socketserver-client/react";
import { nameOf, titleOf } from "../../shared/names.js";
import type { Item } from "./ui";

const KEY = "chat.notifications";
const listeners = new Set<() => void>();

const possible = () => "Notification" in globalThis;
const wanted = () => possible() && Notification.permission === "granted" && localStorage.getItem(KEY) === "on";

/** Whether they are on; null where there are none. */
export function useNotifying(): boolean | null {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => (possible() ? wanted() : null),
  );
}

/** Turn them on or off, after a click: browsers ask the user only then. Returns whether the browser allows it. */
export async function setNotifying(on: boolean): Promise<boolean> {
  const allowed = !on || (await Notification.requestPermission()) === "granted";
  if (on && allowed) localStorage.setItem(KEY, "on");
  else localStorage.removeItem(KEY);
  for (const listener of listeners) listener();
  return allowed;
}

/** Show one for each conversation in which somebody wrote, unless that is open and in front. */
export function useNotifications(items: readonly Item[], me: string, openId: string | null, open: (id: string) => void): void {
  const profiles = useProfiles();
  const known = useRef(new Map<string, number>());
  const tell = useEffectEvent((item: Item) => {
    const { preview } = item;
    const looking = openId === item.id && document.visibilityState === "visible" && document.hasFocus();
    if (!preview || preview.senderId === me || item.unreadCount === 0 || item.settings.muted || looking || !wanted()) return;
    const title = titleOf(item, me, profiles);
    const sender = item.kind === "group" ? `${nameOf(profiles, preview.senderId)}: ` : "";
    // One per conversation: the newest takes the place of the one before.
    const note = new Notification(title, { body: sender + preview.text, tag: item.id, icon: "/icon.svg" });
    note.onclick = () => {
      window.focus();
      open(item.id);
      note.close();
    };
  });
  useEffect(() => {
    for (const item of items) {
      const before = known.current.get(item.id);
      // What was there when the page began, and what the present connection has not confirmed, is no news.
      if (before !== undefined && item.lastSeq > before && !item.stale) tell(item);
      if (before === undefined || !item.stale) known.current.set(item.id, item.lastSeq);
    }
  }, [items]);
}
