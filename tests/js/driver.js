// Hosts real socket.io clients and does what the tests tell it, one JSON line each way; see tests/support/node.py.
//
// Every command {id, op, client?, …} is answered with {id, ok, …}. What happens to a client goes out as
// {client, event, args}: what the server sent, and the client's own connect, disconnect, connect_error and so on.
// A value that JSON does not have is written {"$js": "undefined" | "NaN" | "Infinity"} or {"$bytes": "base64"}.
"use strict";

const readline = require("node:readline");

const PACKAGES = { "4.8": "socket.io-client", "4.0": "socket.io-client-4.0", "3.1": "socket.io-client-3" };
// Acks of raw packets have ids of their own, far above those that the client counts up.
const RAW_ACK = 1_000_000;
const MANAGER_EVENTS = ["reconnect_attempt", "reconnect", "reconnect_failed"];

const clients = new Map();
let rawAcks = RAW_ACK;
// Which test's commands are being done. After a reset nothing is said about what came before it.
let epoch = 0;

function say(message) {
  process.stdout.write(JSON.stringify(message) + "\n");
}

function revive(key, value) {
  if (value === null || typeof value !== "object") return value;
  if (typeof value.$bytes === "string") return Buffer.from(value.$bytes, "base64");
  if (value.$js === "NaN") return NaN;
  if (value.$js === "Infinity") return Infinity;
  return value;
}

// A reviver that returns undefined removes the key, so this one is put in afterwards.
function withUndefined(value) {
  if (value === null || typeof value !== "object" || Buffer.isBuffer(value)) return value;
  if (value.$js === "undefined") return undefined;
  if (Array.isArray(value)) return value.map(withUndefined);
  return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, withUndefined(item)]));
}

function plain(value) {
  if (Buffer.isBuffer(value)) return { $bytes: value.toString("base64") };
  if (Array.isArray(value)) return value.map(plain);
  if (value !== null && typeof value === "object") {
    return Object.fromEntries(Object.entries(value).map(([key, item]) => [key, plain(item)]));
  }
  return value;
}

function open({ client, version, url, options, auths, quiet }) {
  const { io } = require(PACKAGES[version]);
  const entry = { quiet: new Set(quiet), errorFirst: Boolean(options.retries) };
  if (auths) {
    // The application's function, called at every connect; the last value stays.
    let next = 0;
    options.auth = (give) => give(auths[Math.min(next++, auths.length - 1)]);
  }
  const socket = io(url, { forceNew: true, autoConnect: false, ...options });
  entry.socket = socket;
  clients.set(client, entry);
  const note = (event, ...args) => {
    if (!entry.quiet.has(event)) say({ client, event, args: plain(args) });
  };
  socket.onAny((event, ...args) => note(event, ...args));
  socket.on("connect", () => note("connect", socket.id));
  socket.on("disconnect", (reason) => note("disconnect", reason, { active: Boolean(socket.active) }));
  socket.on("connect_error", (error) =>
    note("connect_error", { message: error.message, data: error.data ?? null, active: Boolean(socket.active) }),
  );
  for (const event of MANAGER_EVENTS) socket.io.on(event, (...args) => note(event, ...args.filter(Number.isInteger)));
  socket.io.on("open", () => {
    const engine = socket.io.engine;
    engine.on("upgrade", () => note("upgrade", engine.transport.name));
    engine.on("upgradeError", (error) => note("upgrade_error", error.message));
  });
  socket.connect();
  return {};
}

function emit({ socket, errorFirst }, event, args, timeoutMs) {
  return new Promise((resolve) => {
    const give = (answer) => {
      clearTimeout(timer);
      socket.off("disconnect", lost);
      resolve(answer);
    };
    const timer = setTimeout(() => give({ error: "no ack" }), timeoutMs);
    // The client does not tell that the ack of what it has sent will never come. What it is still to send it keeps.
    const lost = () => give({ error: "disconnected" });
    if (socket.connected && !errorFirst) socket.on("disconnect", lost);
    socket.emit(event, ...args, (...ack) => {
      const error = errorFirst ? ack.shift() : null;
      give(error ? { error: error.message } : { ack: plain(ack) });
    });
  });
}

function raw(socket, text, timeoutMs) {
  return new Promise((resolve) => {
    const id = rawAcks++;
    const give = (answer) => {
      clearTimeout(timer);
      delete socket.acks[id];
      resolve(answer);
    };
    const timer = setTimeout(() => give({ error: "no ack" }), timeoutMs);
    socket.acks[id] = (...ack) => give({ ack: plain(ack) });
    socket.once("disconnect", () => give({ error: "disconnected" }));
    socket.io.engine.send(text.replace("%ID%", String(id)));
  });
}

const OPERATIONS = {
  open,
  emit: ({ entry, event, args, timeoutMs }) => emit(entry, event, args, timeoutMs),
  // Emits in one tick of Node's event loop; `order` says in which order the acks came.
  burst: async ({ entry, emits, timeoutMs }) => {
    const order = [];
    const answers = await Promise.all(
      emits.map(([event, ...args], index) =>
        emit(entry, event, args, timeoutMs).then((answer) => (order.push(index), answer)),
      ),
    );
    return { answers, order };
  },
  forget: ({ socket, event, args }) => (socket.emit(event, ...args), {}),
  raw: ({ socket, text, timeoutMs }) => raw(socket, text, timeoutMs),
  connect: ({ socket }) => (socket.connect(), {}),
  disconnect: ({ socket }) => (socket.disconnect(), {}),
  close_engine: ({ socket }) => (socket.io.engine.close(), {}),
  // The cable is cut: no CLOSE, no DISCONNECT.
  cut: ({ socket }) => {
    const transport = socket.io.engine.transport;
    if (transport.name === "websocket") transport.ws.terminate();
    else transport.onClose("cut");
    return {};
  },
  state: ({ socket }) => ({
    connected: socket.connected,
    active: Boolean(socket.active),
    sid: socket.id ?? null,
    transport: socket.io.engine?.transport?.name ?? null,
  }),
  reset: () => {
    epoch += 1;
    for (const { socket, quiet } of clients.values()) {
      quiet.add("upgrade").add("upgrade_error");
      for (const event of MANAGER_EVENTS) socket.io.off(event);
      socket.offAny();
      socket.off();
      socket.disconnect();
    }
    clients.clear();
    return {};
  },
};

const lines = readline.createInterface({ input: process.stdin });
lines.on("close", () => process.exit(0));
lines.on("line", async (line) => {
  const { id, op, ...command } = withUndefined(JSON.parse(line, revive));
  let answer;
  let asked = epoch;
  try {
    if (op === "reset") asked += 1;
    else if (op !== "open") {
      command.entry = clients.get(command.client);
      command.socket = command.entry.socket;
    }
    answer = { ok: true, ...(await OPERATIONS[op](command)) };
  } catch (error) {
    answer = { ok: false, error: String(error?.stack ?? error) };
  }
  if (asked === epoch) say({ id, ...answer });
});
