/** What was begun and not sent, by conversation: it survives another conversation in between, and a reload. */
import { useSyncExternalStore } from "react";

const KEY = "chat.drafts";
const listeners = new Set<() => void>();
let drafts: Readonly<Record<string, string>> | null = null;

function read(): Readonly<Record<string, string>> {
  try {
    drafts ??= JSON.parse(sessionStorage.getItem(KEY) ?? "{}") as Record<string, string>;
  } catch {
    drafts ??= {};
  }
  return drafts;
}

export function keepDraft(conversationId: string, text: string): void {
  const others = Object.entries(read()).filter(([id]) => id !== conversationId);
  drafts = Object.fromEntries(text.trim() === "" ? others : [...others, [conversationId, text]]);
  try {
    sessionStorage.setItem(KEY, JSON.stringify(drafts));
  } catch {
    // As long as the page, then.
  }
  for (const listener of listeners) listener();
}

export function forgetDrafts(): void {
  drafts = {};
  sessionStorage.removeItem(KEY);
}

export function draftOf(conversationId: string): string {
  return read()[conversationId] ?? "";
}

export function useDrafts(): Readonly<Record<string, string>> {
  return useSyncExternalStore((listener) => {
    listeners.add(listener);
    return () => listeners.delete(listener);
  }, read);
}
