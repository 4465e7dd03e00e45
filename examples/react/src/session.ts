/**
 * Who this tab is. In development anybody may log in under any name; the login belongs to the tab, so that two tabs can
 * be two people.
 *
 * In your app the user is logged in already: replace this file by one function that asks your own back end for a token.
 */
import type { User } from "chat-socketserver-client/wire";
import { words } from "../../shared/words.js";

/** `env` is filled in at build time; Next.js does the same with process.env.NEXT_PUBLIC_WEBSOCKET_URL. */
export const SERVER_URL: string = (
  (import.meta.env.VITE_WEBSOCKET_URL as string | undefined) ??
  (import.meta.env.NEXT_PUBLIC_WEBSOCKET_URL as string | undefined) ??
  "http://localhost:3001"
).replace(/^ws/u, "http"); // `ws://` is what a raw WebSocket needed; fetch does not know it

const KEY = "chat.session";

interface Session {
  user: User;
  token: string;
}

function stored(): Session | null {
  const text = sessionStorage.getItem(KEY);
  return text === null ? null : (JSON.parse(text) as Session);
}

/** The user that this tab logged in as, if it did. */
export function currentUser(): User | null {
  return stored()?.user ?? null;
}

/** Log in under a name. Throws an Error that can be shown. */
export async function logIn(name: string): Promise<User> {
  let response: Response;
  try {
    response = await fetch(`${SERVER_URL}/session`, {
      method: "POST",
      headers: { "Content-Type": "application/json" },
      body: JSON.stringify({ user: name }),
    });
  } catch {
    throw new Error(words.unreachable);
  }
  const answer = (await response.json()) as ({ ok: true } & Session) | { ok: false; error: { message: string } };
  if ("error" in answer) throw new Error(answer.error.message);
  sessionStorage.setItem(KEY, JSON.stringify({ user: answer.user, token: answer.token }));
  return answer.user;
}

export function logOut(): void {
  sessionStorage.removeItem(KEY);
}

/** A token for the handshake; a new one if the server has refused the last. */
export async function getToken(renew: boolean): Promise<string> {
  const session = stored();
  if (session === null) throw new Error("Nobody is logged in.");
  if (!renew) return session.token;
  await logIn(session.user.id);
  return stored()?.token ?? session.token;
}
