/** Where the chat server is. Written out in full, because Next.js puts the value in its place when it builds. */
export const SERVER_URL = (process.env.NEXT_PUBLIC_WEBSOCKET_URL ?? "http://localhost:3001").replace(/^ws/u, "http");
