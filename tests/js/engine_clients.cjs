// One run of a real socket.io client against the delivery engine's echo server.
// usage: node engine_clients.cjs <url> <package> <transports, comma separated> <scenario>
// Prints one JSON object; exits 1 with the reason on stderr.
const [url, pkg, transports, scenario] = process.argv.slice(2);
const { io } = require(pkg);

const fail = (reason) => { console.error(reason); process.exit(1); };
const assert = (condition, what) => { if (!condition) fail(`wrong: ${what}`); };
const sleep = (ms) => new Promise((resolve) => setTimeout(resolve, ms));
const started = Date.now();

const socket = io(url, { transports: transports.split(","), auth: { token: "t" }, reconnectionDelay: 100, timeout: 5000 });
const events = [];
socket.on("disconnect", (reason) => events.push(reason));
const next = (event) => new Promise((resolve) => socket.once(event, (...args) => resolve(args)));
const ack = (...args) => new Promise((resolve) => socket.emit(...args, (...answer) => resolve(answer)));
const until = async (condition, what) => {
  const deadline = Date.now() + 15000;
  while (!condition()) { if (Date.now() > deadline) fail(`not in time: ${what}`); await sleep(5); }
};

async function everything() {
  const auth = await next("auth");
  assert(auth[0].token === "t", "auth");
  const text = "çedilla – 汉字 – 🎉 \u2028 \u0000";
  assert((await ack("message-with-ack", text, [1, { a: null }]))[0] === text, "unicode ack");

  const binary = Buffer.alloc(70000, 7);
  const [first, second] = await ack("message-with-ack", { deep: [binary] }, binary.subarray(0, 10));
  assert(Buffer.compare(Buffer.from(first.deep[0]), binary) === 0, "70 kB of binary both ways");
  assert(second.length === 10, "second attachment");

  const received = [];
  const collect = (n) => received.push(n);
  socket.on("message-back", collect);
  for (let i = 0; i < 200; i++) socket.emit("message", i);
  await until(() => received.length >= 200, "burst of 200");
  assert(received.every((n, i) => n === i) && received.length === 200, "order of the burst");
  socket.off("message-back", collect);

  for (const size of [1000, 1200, 20000, 100000, 300000, 900000]) {
    const body = "x".repeat(size);
    const [answer] = await ack("message-with-ack", body);
    assert(answer === body, `${size} bytes`);
  }
  const custom = io(url + "/custom", { transports: transports.split(",") });
  await new Promise((resolve) => custom.once("connect", resolve));
  assert((await new Promise((r) => custom.emit("message-with-ack", 1, r))) === 1, "custom namespace");
  custom.disconnect();
  const refused = io(url + "/nowhere", { transports: transports.split(",") });
  const error = await new Promise((resolve) => refused.once("connect_error", resolve));
  assert(error.message === "Invalid namespace", "refusal with a message");
  await sleep(1200); // several ping cycles of 0.3 + 0.2 s
  assert((await ack("message-with-ack", "alive"))[0] === "alive", "alive");
  assert(events.length === 0, `disconnected: ${events}`);
}

async function fallback() { // an upgrade that cannot work: polling goes on
  await next("auth");
  for (let i = 0; i < 20; i++) {
    assert((await ack("message-with-ack", i))[0] === i, "ack over polling");
    await sleep(50);
  }
  assert(events.length === 0, `disconnected: ${events}`);
}

async function restart() { // the server goes and comes back
  await next("auth");
  const again = next("auth");
  socket.emit("message", "there");
  await again;
  assert((await ack("message-with-ack", "back"))[0] === "back", "ack after the restart");
}

async function kicked() { // sio.disconnect: stays away
  await next("auth");
  const gone = next("disconnect");
  socket.emit("message", "kick");
  assert((await next("last"))[0] === "words", "what was emitted before");
  assert((await gone)[0] === "io server disconnect", "reason");
  await sleep(500);
  assert(!socket.connected && !socket.active, "stays away");
}

async function sent_back() { // sio.close_transport: comes back by itself
  await next("auth");
  const gone = next("disconnect");
  socket.emit("message", "close");
  assert((await next("last"))[0] === "words", "what was emitted before");
  const reason = (await gone)[0];
  assert(reason === "transport close" || reason === "transport error", `reason ${reason}`);
  await next("auth");
  assert((await ack("message-with-ack", 1))[0] === 1, "back again");
}

({ everything, fallback, restart, kicked, sent_back })[scenario]().then(() => {
  const transport = socket.io.engine ? socket.io.engine.transport.name : null;
  socket.disconnect();
  setTimeout(() => {
    console.log(JSON.stringify({ transport, events, ms: Date.now() - started }));
    process.exit(0);
  }, 50);
}).catch((error) => fail(error.stack));
setTimeout(() => fail("scenario timed out"), 40000);
