/** GET: a token for the chat server, for whoever is logged in here. */
import type { User } from "chat-socketserver-client/wire";
import { SignJWT } from "jose";
import { SERVER_URL } from "@/lib/server";
import { currentUser } from "@/lib/session";

export async function GET() {
  const user = await currentUser();
  if (user === null) return Response.json({ error: "Nobody is logged in." }, { status: 401 });
  const secret = process.env.WEBSOCKET_JWT_SECRET;
  try {
    const token = await (secret ? signed(user, secret) : developmentToken(user));
    return Response.json({ token }, { headers: { "Cache-Control": "no-store" } });
  } catch {
    return Response.json({ error: `${SERVER_URL} has no token.` }, { status: 502 });
  }
}

/** The server has the same secret. A short life is no burden: the client asks for the next token by itself. */
function signed({ id, name }: User, secret: string): Promise<string> {
  return new SignJWT({ name })
    .setProtectedHeader({ alg: "HS256" })
    .setSubject(id)
    .setExpirationTime("15m")
    .sign(new TextEncoder().encode(secret));
}

/** Without a secret anybody on this machine may log in under any name; `next dev -H localhost` lets nobody else in. */
async function developmentToken({ id, name }: User): Promise<string> {
  const response = await fetch(`${SERVER_URL}/session`, {
    method: "POST",
    headers: { "Content-Type": "application/json" },
    body: JSON.stringify({ user: id, name }),
  });
  if (!response.ok) throw new Error(`${response.status}`);
  return ((await response.json()) as { token: string }).token;
}
