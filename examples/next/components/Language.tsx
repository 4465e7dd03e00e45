"use client";

import { createContext, useContext, type ReactNode } from "react";
import { WORDS } from "@/lib/words";

const Context = createContext<keyof typeof WORDS>("en");

export function Language({ lang, children }: { lang: keyof typeof WORDS; children: ReactNode }) {
  return <Context value={lang}>{children}</Context>;
}

/** What the page says, in the language of its user. */
export function useWords() {
  return WORDS[useContext(Context)];
}
