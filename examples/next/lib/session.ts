/**
 * Who is logged in. It believes whoever says a name, which is for trying out on one's own machine: in your application
 * this file is the session that you have already, and nothing else changes.
 */
import type { User } from "chat-socketserver-client/wire";
import { cookies } from "next/headers";

const COOKIE = "name";

export async function currentUser(): Promise<User | null> {
  if (process.env.NODE_ENV === "production") throw new Error("lib/session.ts believes everybody: put your own login in its place.");
  const name = (await cookies()).get(COOKIE)?.value;
  return name ? { id: idOf(name), name } : null;
}

export async function remember(name: string): Promise<void> {
  (await cookies()).set(COOKIE, name, { httpOnly: true, sameSite: "lax", maxAge: 30 * 24 * 60 * 60 });
}

export async function forget(): Promise<void> {
  (await cookies()).delete(COOKIE);
}

/** Users are known by ids, and shown by names. Yours have their ids from your database. */
export function idOf(name: string): string {
  return name.trim().toLowerCase();
}
