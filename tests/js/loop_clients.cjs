// Stock socket.io clients with three attempts, in applications that make loops of them.
// usage: node loop_clients.cjs <url> <package> <transports, comma separated> <scenario> <token> [<token of a second user>]
// Prints one JSON object {tabs: [{connects, errors, ...}]}; exits 1 with the reason on stderr.
const [url, pkg, transports, scenario, token] = process.argv.slice(2);
const { io } = require(pkg);

const QUIET_MS = 1200; // longer than any pause of the client below
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const fail = (reason) => { console.error(reason); process.exit(1); };
const options = {
  transports: transports.split(","), reconnectionAttempts: 3, reconnectionDelay: 30, reconnectionDelayMax: 150,
  forceNew: true, timeout: 5000,
};
const tabs = [];

// A client and what happened to it. `tries` are connects that were let in or refused: every one that it made.
function tab(auth, listeners = {}) {
  const socket = io(url, { ...options, ...(auth ? { auth } : {}) });
  const seen = { connects: 0, errors: 0, codes: [], statuses: [], ended: [], failed: false, last: Date.now() };
  const note = () => { seen.last = Date.now(); };
  tabs.push({ socket, seen });
  socket.on("connect", () => { seen.connects += 1; note(); if (listeners.connect) listeners.connect(socket); });
  socket.on("connect_error", (error) => {
    seen.errors += 1; note();
    let body = null;
    try { body = JSON.parse(error.context.responseText); } catch {}
    if (body && body.error) { seen.statuses.push(error.context.status); seen.codes.push(body.error.code); }
    else seen.codes.push(error.data ? error.data.code : error.message);
    if (listeners.connect_error) listeners.connect_error(socket);
  });
  socket.on("session_ended", (end) => { seen.ended.push(end.code); note(); });
  socket.on("disconnect", () => { note(); if (listeners.disconnect) listeners.disconnect(socket); });
  socket.io.on("reconnect_failed", () => { seen.failed = true; note(); });
  return socket;
}

const quiet = async (deadlineMs = 30000) => {
  const end = Date.now() + deadlineMs;
  while (tabs.some(({ seen }) => Date.now() - seen.last < QUIET_MS)) {
    if (Date.now() > end) fail(`still going on: ${JSON.stringify(tabs.map(({ seen }) => seen))}`);
    await sleep(20);
  }
};
const connected = (socket) => new Promise((resolve) => (socket.connected ? resolve() : socket.once("connect", resolve)));
const again = (socket) => socket.connect();

const scenarios = {
  // The server drops what it has let in, each time.
  async dropped() { tab({ token }); await quiet(); },
  async dropped_without_user() { tab(null); await quiet(); },
  // An application with a bug: the first thing that it sends is no Socket.IO packet.
  async malformed() { tab({ token }, { connect: (socket) => socket.io.engine.write("2[nonsense") }); await quiet(); },
  async bad_token() { tab({ token: "nonsense" }); await quiet(); },
  // The token of a connection that is lost meanwhile comes late: both answers go out on the next one.
  async late_auth() {
    let opened = 0, release;
    const late = new Promise((resolve) => { release = resolve; });
    const socket = tab((hand) => late.then(() => hand({ token })));
    socket.io.on("open", () => { // the manager looks for the end of its engine only after this
      opened += 1;
      setTimeout(() => (opened === 1 ? socket.io.engine.close() : release()));
    });
    await quiet();
  },
  // Two tabs with the options of the documentation: the second takes the place of the first.
  async two_tabs() { await connected(tab({ token })); tab({ token }); await quiet(); },
  // Two tabs whose application comes back whatever the server says.
  async two_tabs_that_fight() {
    await connected(tab({ token }, { disconnect: again }));
    tab({ token }, { disconnect: again });
    await quiet();
  },
  async comes_back_without_user() { tab(null, { disconnect: again }); await quiet(); },
  // An application that calls connect() whatever happens.
  async never_gives_up() { tab({ token: "nonsense" }, { disconnect: again, connect_error: again }); await quiet(); },

  // What people do.
  async strict_mode() {
    const first = tab({ token });
    first.disconnect();
    await connected(tab({ token }));
    await quiet();
  },
  async five_reloads() {
    for (let number = 0; number < 6; number++) {
      const socket = tab({ token });
      await connected(socket);
      await sleep(50);
      if (number < 5) { // the page is gone without a word
        socket.io.reconnection(false);
        const transport = socket.io.engine.transport;
        if (transport.name === "websocket") transport.ws.terminate(); else transport.onClose("gone");
      }
    }
    await quiet();
  },
  async wakes_up() {
    const socket = tab({ token });
    await connected(socket);
    await sleep(100);
    const transport = socket.io.engine.transport;
    if (transport.name === "websocket") transport.ws.terminate(); else transport.onClose("asleep");
    await quiet();
  },
};

scenarios[scenario]().then(() => {
  const out = tabs.map(({ socket, seen }) => ({
    ...seen, tries: seen.connects + seen.errors, connected: socket.connected, active: Boolean(socket.active),
  }));
  for (const { socket } of tabs) socket.disconnect();
  setTimeout(() => { console.log(JSON.stringify({ tabs: out })); process.exit(0); }, 50);
}).catch((error) => fail(error.stack));
setTimeout(() => fail("scenario timed out"), 50000);
