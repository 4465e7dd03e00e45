// A chat in forty lines: plain socket.io-client, nothing of ours. It prints what it shows, one JSON line a message.
// Usage: node plain_client.mjs URL TOKEN CONVERSATION_ID; each line on stdin is a message to send.
import readline from "node:readline";
import { io } from "socket.io-client";

const [url, token, conversationId] = process.argv.slice(2);
const seen = new Map(); // seq → message: whatever comes twice is shown once, and again when it has changed
let change = 0; // the last change without a hole before it: where to resume from

const socket = io(url, { auth: { token }, reconnectionAttempts: 3, reconnectionDelay: 2000, reconnectionDelayMax: 10000 });

function show(message) {
  if (seen.get(message.seq)?.change >= message.change) return;
  seen.set(message.seq, message);
  console.log(JSON.stringify({ seq: message.seq, body: message.body, reactions: message.reactions }));
}

async function join() {
  const joined = await socket.emitWithAck("join_conversation", { conversationId, after: change, limit: 200 });
  if (joined.change < change) seen.clear(); // the server's database was replaced by a backup
  [...joined.updates, ...joined.messages].forEach(show);
  change = joined.updatesThrough ?? joined.change;
  while (change < joined.change) {
    const page = await socket.emitWithAck("fetch_changes", { conversationId, after: change });
    page.messages.forEach(show);
    change = page.change;
  }
}

async function send(body, idempotencyKey = crypto.randomUUID()) {
  try {
    await socket.timeout(5000).emitWithAck("send_message", { conversationId, idempotencyKey, body });
  } catch {
    await send(body, idempotencyKey); // no ack: nobody knows. The same key again is the same message.
  }
}

socket.on("connect", join);
socket.on("message_created", ({ message }) => show(message));
socket.on("message_updated", ({ message }) => show(message));
socket.on("session_ended", ({ code, reconnect }) => reconnect || console.log(JSON.stringify({ ended: code })));
readline.createInterface({ input: process.stdin }).on("line", (line) => void send(line));
