// What the client imports as socket.io-client: the browser's script of it, which session.js loads before the chat connects.

export const io = (...wish) => globalThis.io(...wish);
