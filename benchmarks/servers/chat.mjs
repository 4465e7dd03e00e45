// A plain chat server for socket.io on Node and on Bun: it checks no payload and no permission, only the token of a
// connect is verified; and it stores nothing, unless it is given a function that does.
import jwt from "jsonwebtoken";

export const origin = process.env.BENCH_ORIGIN;
export const port = Number(process.argv[2]);

/** Put the handlers onto a socket.io Server; `store`, if given, is awaited for each message before it is sent on. */
export function register(io, store) {
  const secret = process.env.BENCH_JWT_SECRET;
  const lastSeq = new Map();
  let lastId = 0;

  io.use((socket, next) => {
    try {
      socket.data.userId = jwt.verify(socket.handshake.auth.token, secret, { algorithms: ["HS256"] }).sub;
      next();
    } catch (error) {
      next(error);
    }
  });

  io.on("connection", (socket) => {
    socket.on("join_conversation", ({ conversationId }, ack) => {
      socket.join(conversationId);
      ack({ ok: true });
    });

    socket.on("send_message", async ({ conversationId, idempotencyKey, body, metadata = null }, ack) => {
      const seq = (lastSeq.get(conversationId) ?? 0) + 1;
      lastSeq.set(conversationId, seq);
      const message = {
        id: (++lastId).toString(16).padStart(32, "0"),
        conversationId,
        seq,
        change: seq,
        senderId: socket.data.userId,
        idempotencyKey,
        body,
        metadata,
        createdAt: Date.now(),
      };
      if (store) await store(message);
      io.to(conversationId).emit("message_created", { message });
      ack({ ok: true, message, duplicate: false });
    });
  });
}
