/** Desktop notifications, for components. */
import { useEffect, useEffectEvent, useRef, useSyncExternalStore } from "react";
import { useProfiles } from "chat-socketserver-client/react";
import { Notifier, notifying, onNotifying } from "../../shared/notifications.js";
import type { Item } from "./ui";

/** Whether they are on; null where there are none. */
export function useNotifying(): boolean | null {
  return useSyncExternalStore(onNotifying, notifying);
}

/** Show one for each conversation in which somebody wrote, unless that is open and in front. */
export function useNotifications(items: readonly Item[], me: string, openId: string | null, open: (id: string) => void): void {
  const profiles = useProfiles();
  const notifier = useRef<Notifier>(null);
  const look = useEffectEvent((items: readonly Item[]) => {
    notifier.current ??= new Notifier("/icon.svg");
    notifier.current.look(items, { me, openId, profiles, open });
  });
  useEffect(() => look(items), [items]);
}
