"use client";

import { logIn } from "@/app/actions";
import { useWords } from "./Language";

export function Login() {
  const words = useWords();
  return (
    <main className="login">
      <title>{words.messages}</title>
      <form action={logIn}>
        <h1>{words.whoAreYou}</h1>
        <p>{words.anyName}</p>
        <label htmlFor="name">{words.yourName}</label>
        <input id="name" name="name" required maxLength={100} pattern=".*\S.*" autoComplete="username" dir="auto" autoFocus />
        <button className="primary">{words.start}</button>
      </form>
    </main>
  );
}
