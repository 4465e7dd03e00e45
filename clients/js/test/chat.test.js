// The client on a real server: cuts, restarts, several tabs, many rooms.
import assert from "node:assert/strict";
import { execFile } from "node:child_process";
import { after, afterEach, before, test } from "node:test";
import { promisify } from "node:util";
import { createChat, memoryStorage } from "../src/chat.js";
import { CLOCK } from "../src/clock.js";
import { Cable, Server, token, until } from "./live.js";

/** Time that passes twenty times as fast for the client: a minute's outage takes three seconds. */
const HURRIED = 20;
const started = CLOCK.now();
const hurried = {
  ...CLOCK,
  now: () => started + (CLOCK.now() - started) * HURRIED,
  setTimeout: (act, ms) => CLOCK.setTimeout(act, ms / HURRIED),
};

const server = new Server({ WEBSOCKET_MESSAGES_PER_SECOND: "0", WEBSOCKET_SOCKETS_PER_USER: "0" });
const opened = [];
before(() => server.start());
after(() => server.remove());
afterEach(() => {
  for (const close of opened.splice(0)) close();
});

async function cable(to = server) {
  const laid = await new Cable(to).lay();
  opened.push(() => laid.remove());
  return laid;
}

function chatOf(user, { url = `http://127.0.0.1:${server.port}`, ...more } = {}) {
  const chat = createChat({ url, getToken: async () => token(user), storage: memoryStorage(), ...more });
  opened.push(() => chat.disconnect());
  chat.connect();
  return chat;
}

const connected = (chat) => until("connected", () => chat.status.state === "connected");

async function group(chat, ...participantIds) {
  await connected(chat);
  const { id } = await chat.createConversation({ participantIds, title: "A group" });
  return id;
}

const bodies = (room) => room.state.messages.map(({ body }) => body);
const numbers = (from, to) => Array.from({ length: to - from + 1 }, (_, i) => `${from + i}`);

test("two people chat live: messages, typing, presence, read marks, the list", async () => {
  const [ana, ben] = [chatOf("ana"), chatOf("ben")];
  const { id } = await connected(ana).then(() => ana.createConversation({ participantIds: ["ben"] }));
  const [anas, bens] = [ana.open(id, { visible: true }), ben.open(id)];
  const sent = anas.send("Hello");
  assert.deepEqual(anas.state.pending.map(({ body }) => body), ["Hello"]);
  assert.equal((await sent.stored).seq, 1);
  assert.deepEqual(anas.state.pending, []);
  await until("the message", () => bodies(bens)[0] === "Hello");
  assert.equal(bens.state.unreadCount, 1);
  await until("the list", () => ben.conversations.state.items.find((item) => item.id === id)?.unreadCount === 1);
  bens.setVisible(true);
  assert.equal(bens.state.unreadCount, 0);
  await until("read", () => anas.state.participants.find(({ userId }) => userId === "ben")?.readSeq === 1);
  await until("presence", () => anas.state.participants.every(({ online }) => online));
  bens.setTyping(true);
  await until("typing", () => anas.state.typing.includes("ben"));
  bens.send("Hi");
  await until("both", () => bodies(anas).length === 2);
  assert.deepEqual(anas.state.typing, []);
  await until("nothing unread", () => ana.conversations.state.unreadTotal === 0);
  bens.close();
  anas.send("Are you there?");
  await until("unread", () => ben.conversations.state.items[0]?.unreadCount === 1);
  assert.equal(ben.conversations.state.items[0].preview.text, "Are you there?");
});

test("over cuts nothing is lost, nothing comes twice, and nothing is left waiting", async () => {
  const line = await cable();
  const ana = chatOf("ana", { url: line.url, clock: hurried });
  const ben = chatOf("ben");
  const id = await group(ana, "ben");
  const [anas, bens] = [ana.open(id, { visible: true }), ben.open(id, { visible: true })];
  await until("both are in", () => anas.state.joined && bens.state.joined);
  for (let i = 0; i < 100; i += 1) {
    anas.send(`ana ${i}`);
    bens.send(`ben ${i}`);
    if (i % 17 === 5) line.tear();
    if (i % 10 === 0) await new Promise((resolve) => setTimeout(resolve, 5));
  }
  await until("everything", () => anas.state.messages.length === 200 && bens.state.messages.length === 200);
  await until("nothing waits", () => anas.state.pending.length === 0 && bens.state.pending.length === 0);
  assert.deepEqual(bodies(anas), bodies(bens));
  for (const who of ["ana", "ben"]) {
    const own = bodies(anas).filter((body) => body.startsWith(who));
    assert.deepEqual(own, Array.from({ length: 100 }, (_, i) => `${who} ${i}`));
  }
  assert.equal(anas.state.unreadCount, 0);
});

test("what was missed while away is fetched, more than an answer holds too; unread is exact", async () => {
  const line = await cable();
  const ana = chatOf("ana", { url: line.url, clock: hurried });
  const ben = chatOf("ben");
  const id = await group(ana, "ben");
  const [anas, bens] = [ana.open(id), ben.open(id)];
  await bens.send("0").stored;
  await until("the first", () => bodies(anas).length === 1);
  line.cut();
  await until("lost", () => ana.status.state !== "connected");
  assert.equal(anas.state.joined, false);
  await Promise.all(numbers(1, 180).map((body) => bens.send(body).stored));
  line.mend();
  ana.wake();
  await until("everything", () => bodies(anas).length === 181);
  assert.deepEqual(bodies(anas), numbers(0, 180));
  assert.equal(anas.state.unreadCount, 181);
  await until("the list", () => ana.conversations.state.items.find((item) => item.id === id)?.unreadCount === 181);
});

test("older messages come by pages", async () => {
  const ben = chatOf("ben");
  const id = await group(ben, "ana");
  const bens = ben.open(id);
  await Promise.all(numbers(1, 120).map((body) => bens.send(body).stored));
  const anas = chatOf("ana").open(id);
  await until("the newest", () => anas.state.joined);
  assert.equal(anas.state.messages.length, 50);
  assert.ok(anas.state.hasOlder);
  await Promise.all([anas.loadOlder(), anas.loadOlder()]); // twice is once
  assert.equal(anas.state.messages.length, 100);
  await anas.loadOlder();
  assert.deepEqual(bodies(anas), numbers(1, 120));
  assert.equal(anas.state.hasOlder, false);
});

test("a server that is away for a minute leaves nobody offline, and takes nobody for a loop", async () => {
  const own = await new Server({ WEBSOCKET_MESSAGES_PER_SECOND: "0" }).start();
  opened.push(() => own.remove());
  const url = `http://127.0.0.1:${own.port}`;
  const people = numbers(1, 20).map((user) => chatOf(user, { url, clock: hurried }));
  const states = people.map((chat) => {
    const seen = [];
    chat.subscribe(() => seen.at(-1) === chat.status.state || seen.push(chat.status.state));
    return seen;
  });
  await Promise.all(people.map(connected));
  const id = await group(people[0], ...numbers(2, 20));
  const rooms = people.map((chat) => chat.open(id));
  await until("all are in", () => rooms.every(({ state }) => state.joined));
  const stoppedAt = hurried.now();
  await own.stop();
  rooms.forEach((room, i) => room.send(`written while it was away: ${i}`));
  await until("a minute has passed", () => hurried.now() - stoppedAt > 60_000 && people.every(({ status }) => status.state === "offline"));
  assert.ok(people.every(({ status }) => status.code === "unreachable"));
  await own.start();
  await until("all are back", () => people.every(({ status }) => status.state === "connected"));
  await until("everything is there", () => rooms.every(({ state }) => state.messages.length === 20 && state.pending.length === 0));
  for (const seen of states) assert.ok(!seen.includes("ended"), seen.join());
  assert.ok(!own.log.some((line) => line.includes("connects_refused")), own.log.join("\n"));
});

test("restarts again and again, with somebody who looks at the page all the time, are no loop for the server", async () => {
  const own = await new Server().start();
  opened.push(() => own.remove());
  const ana = chatOf("ana", { url: `http://127.0.0.1:${own.port}`, clock: hurried });
  await connected(ana);
  for (let i = 0; i < 4; i += 1) {
    await own.stop(i % 2 ? "SIGKILL" : "SIGTERM");
    await until("lost", () => ana.status.state !== "connected");
    const looking = setInterval(() => ana.wake(), 1);
    await own.start();
    await until("back", () => ana.status.state === "connected" || ana.status.state === "ended");
    clearInterval(looking);
    assert.equal(ana.status.state, "connected", ana.status.message);
  }
  assert.ok(!own.log.some((line) => line.includes("connects_refused")), own.log.join("\n"));
});

test("twenty switches a second between conversations: one connection, nothing lost, no refusal", async () => {
  const line = await cable();
  const ana = chatOf("ana", { url: line.url });
  await connected(ana);
  const ids = [];
  for (let i = 0; i < 12; i += 1) ids.push(await group(ana, "ben"));
  const refused = [];
  let current;
  for (let i = 0; i < 100; i += 1) {
    current?.close();
    current = ana.open(ids[i % ids.length], { visible: true });
    if (current.state.error) refused.push(current.state.error.code);
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  await until("in the last one", () => current.state.joined);
  await current.send("Here").stored;
  assert.deepEqual(bodies(current), ["Here"]);
  assert.deepEqual(refused, []);
  assert.equal(ana.status.state, "connected");
  assert.match(line.heard, /message_created/u); // so that it would have been seen
  assert.doesNotMatch(line.heard, /rate_limited|flooding|limit_exceeded/u);
  assert.equal(line.heard.split('"welcome"').length - 1, 1, "connected more than once");
  const room = ana.room(ids[0]);
  await until("the others are left", () => ids.every((id) => id === current.id || ana.room(id).idle));
  assert.equal(room.state.joined, room.id === current.id);
});

test("two that have the same conversation open share it, and it is left when both are gone", async () => {
  const ana = chatOf("ana");
  const id = await group(ana, "ben");
  const [first, second] = [ana.open(id), ana.open(id, { visible: true })];
  await until("in", () => first.state.joined);
  assert.equal(first.state, second.state);
  first.close();
  first.close();
  await second.send("Still here").stored;
  assert.equal(second.state.visible, true);
  second.close();
  await until("left", () => ana.room(id).idle);
});

test("a hook that lets go and takes hold again in one turn sends nothing", async () => {
  const ana = chatOf("ana");
  const id = await group(ana, "ben");
  const room = ana.room(id);
  let hold = room.hold(true);
  await until("in", () => room.state.joined);
  for (let i = 0; i < 50; i += 1) {
    hold.release();
    hold = room.hold(true);
  }
  await room.send("One").stored;
  assert.equal(room.state.joined, true);
  hold.release();
});

test("a conversation that is not one's own says so, and others go on", async () => {
  const [ana, mallory] = [chatOf("ana"), chatOf("mallory")];
  const id = await group(ana, "ben");
  await connected(mallory);
  const room = mallory.open(id);
  await until("refused", () => room.state.error?.code === "conversation_not_found");
  const sent = room.send("Let me in");
  await assert.rejects(sent.stored, { code: "conversation_not_found" });
  assert.equal(room.state.pending[0].error.code, "conversation_not_found");
  room.discard(sent.key);
  const own = mallory.open(await group(mallory, "ben"));
  await own.send("Mine").stored;
});

test("of two tabs the newest stays; what the paused one writes is sent by the other, and the button takes it back", async () => {
  const own = await new Server().start();
  opened.push(() => own.remove());
  const storage = memoryStorage();
  const of = { url: `http://127.0.0.1:${own.port}`, storage };
  const first = chatOf("ana", of);
  const id = await group(first, "ben");
  const paused = first.open(id);
  await until("in", () => paused.state.joined);
  const second = chatOf("ana", of);
  await until("replaced", () => first.status.code === "replaced");
  assert.equal(first.status.state, "ended");
  const sent = paused.send("From the paused tab");
  await sent.stored;
  assert.deepEqual(bodies(paused), ["From the paused tab"]);
  const live = second.open(id);
  await until("there once", () => bodies(live).join() === "From the paused tab");
  first.connect();
  await connected(first);
  await until("the other is paused", () => second.status.code === "replaced");
});

test("what was kept shows before there is a connection; after a logout nothing is left", async () => {
  const line = await cable();
  const storage = memoryStorage();
  const of = { url: line.url, storage, user: { id: "ana" } };
  const first = chatOf("ana", of);
  const id = await group(first, "ben");
  await first.open(id).send("Kept").stored;
  first.disconnect(); // writes what it has
  await until("kept", async () => (await storage.entries("")).length >= 2);
  line.cut();
  const second = chatOf("ana", of);
  const room = second.open(id);
  await until("the conversation", () => bodies(room).join() === "Kept");
  await until("the list", () => second.conversations.state.items.some((item) => item.id === id));
  assert.equal(room.state.joined, false);
  room.send("For later");
  line.mend();
  second.connect();
  await until("sent", () => bodies(room).join() === "Kept,For later");
  await second.logOut();
  assert.deepEqual(await storage.entries(""), []);
  assert.deepEqual(second.conversations.state.items, []);
});

test("how users are shown is known from whatever named them, changes live, and is kept", async () => {
  const storage = memoryStorage();
  const line = await cable();
  const named = (id, name) => chatOf(id, { getToken: async () => token(id, 60, { name }) });
  const zoe = chatOf("zoe", { url: line.url, storage, user: { id: "zoe" } });
  const first = named("cleo", "Cleo");
  const id = await group(first, "zoe", "ghost");
  const shown = (chat, user) => chat.profiles.state.get(user)?.name;
  await until("the name, as the conversation was created", () => shown(zoe, "cleo") === "Cleo");
  assert.deepEqual([zoe.profiles.state.get("ghost"), shown(zoe, "zoe")], [{ userId: "ghost", known: false }, "zoe"]);
  const room = zoe.open(id);
  await until("joined", () => room.state.joined);
  first.disconnect();
  named("cleo", "Cleopatra");
  await until("the new name", () => shown(zoe, "cleo") === "Cleopatra");
  zoe.disconnect();
  await until("kept", async () => (await storage.entries("")).some(([key]) => key.endsWith("profiles")));
  line.cut();
  const again = chatOf("zoe", { url: line.url, storage, user: { id: "zoe" } });
  await until("the name without a connection", () => shown(again, "cleo") === "Cleopatra");
  await again.logOut();
  assert.equal(again.profiles.state.size, 0);
});

test("a token of another user ends it, and mixes nothing", async () => {
  let who = "ana";
  const line = await cable();
  const chat = chatOf(null, { url: line.url, clock: hurried, getToken: async () => token(who) });
  const id = await group(chat, "ben");
  const room = chat.open(id);
  await room.send("Mine").stored;
  who = "ben";
  line.tear();
  await until("ended", () => chat.status.state === "ended");
  assert.equal(chat.status.code, "user_changed");
});

test("a message of a known size limit is refused before it is sent, and behind it goes on", async () => {
  const ana = chatOf("ana");
  const id = await group(ana, "ben");
  const room = ana.open(id);
  const large = room.send("x".repeat(70_000));
  await assert.rejects(large.stored, { code: "too_large" });
  await room.send("hello").stored;
  assert.equal(ana.status.state, "connected");
});

test("nothing is left of a chat that is disconnected: its process ends by itself", async () => {
  const program = `
    import { createChat } from "${new URL("../src/chat.js", import.meta.url)}";
    const chat = createChat({ url: "http://127.0.0.1:${server.port}", getToken: async () => "${token("ana")}" });
    chat.connect();
    await new Promise((resolve) => chat.subscribe(() => chat.status.state === "connected" && resolve()));
    const room = chat.open((await chat.createConversation({ participantIds: ["ben"] })).id);
    room.setTyping(true);
    await room.send("Bye").stored;
    chat.disconnect();
    console.log("done");
  `;
  const { stdout } = await promisify(execFile)("node", ["--input-type=module", "--eval", program], { timeout: 60_000 });
  assert.equal(stdout, "done\n");
});

test("a listener that is taken away is told nothing more", async () => {
  const ana = chatOf("ana");
  const id = await group(ana, "ben");
  const room = ana.open(id, { visible: true });
  let told = 0;
  const stop = room.subscribe(() => (told += 1));
  await room.send("One").stored;
  stop();
  stop();
  const before = told;
  await room.send("Two").stored;
  assert.equal(told, before);
  room.close();
});
