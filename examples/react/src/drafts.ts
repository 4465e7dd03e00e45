/** What was begun and not sent, for components. */
import { useSyncExternalStore } from "react";
import { allDrafts, onDrafts } from "../../shared/drafts.js";

export function useDrafts(): Readonly<Record<string, string>> {
  return useSyncExternalStore(onDrafts, allDrafts);
}
