// A conversation's life on a real server: edits, deletions, reactions, replies, one's own settings.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { createChat, memoryStorage } from "../src/chat.js";
import { Cable, Server, token, until } from "./live.js";

const server = new Server({ WEBSOCKET_MESSAGES_PER_SECOND: "0", WEBSOCKET_SOCKETS_PER_USER: "0" });
const opened = [];
before(() => server.start());
after(() => server.remove());
afterEach(() => {
  for (const close of opened.splice(0)) close();
});

async function cable() {
  const laid = await new Cable(server).lay();
  opened.push(() => laid.remove());
  return laid;
}

function startOf(user, { url = `http://127.0.0.1:${server.port}`, ...more } = {}) {
  const chat = createChat({ url, getToken: async () => token(user), storage: memoryStorage(), ...more });
  opened.push(() => chat.disconnect());
  chat.connect();
  return chat;
}

async function chatOf(user, how) {
  const chat = startOf(user, how);
  await connected(chat);
  return chat;
}

const connected = (chat) => until("connected", () => chat.status.state === "connected");

/** Ana's and Ben's view of a new conversation, with so many messages of Ana's. */
async function talk(count, { line, visible = true } = {}) {
  const [ana, ben] = [await chatOf("ana", { url: line?.url }), await chatOf("ben")];
  const { id } = await ana.createConversation({ participantIds: ["ben"], title: "A group" });
  const [anas, bens] = [ana.open(id, { visible: true }), ben.open(id, { visible })];
  await until("both are in", () => anas.state.joined && bens.state.joined);
  await Promise.all(Array.from({ length: count }, (_, i) => anas.send(`${i + 1}`).stored));
  await until("both have it", () => anas.state.lastSeq === count && bens.state.lastSeq === count);
  return { ana, ben, anas, bens, id };
}

const shown = (room) => room.state.messages.map(({ seq, body, deletedAt, reactions }) => [seq, deletedAt ? null : body, reactions]);
const item = (chat, id) => chat.conversations.state.all.find((each) => each.id === id);

test("edits, deletions and reactions show at once, to the others a moment later; a message that did not change is the same object", async () => {
  const { anas, bens } = await talk(3);
  const [, , third] = anas.state.messages;
  const edit = anas.edit(1, "one");
  const removal = anas.remove(2);
  const reaction = anas.react(3, "+");
  const [one, two, three] = anas.state.messages;
  assert.deepEqual([one.body, one.pending.map(({ kind }) => kind)], ["one", ["edit"]]);
  assert.deepEqual([two.body, two.deletedBy], ["", "ana"]);
  assert.deepEqual(three.reactions, [{ reaction: "+", count: 1, userIds: ["ana"] }]);
  anas.setTyping(true);
  assert.equal(anas.state.messages[2], three);
  assert.notEqual(three, third);
  await Promise.all([edit, removal, reaction].map(({ stored }) => stored));
  assert.ok(anas.state.messages.every(({ pending }) => pending === undefined));
  await until("Ben sees it", () => bens.state.cursor === 6);
  assert.deepEqual(shown(bens), [[1, "one", undefined], [2, null, undefined], [3, "3", [{ reaction: "+", count: 1, userIds: ["ana"] }]]]);
  assert.deepEqual(bens.state.messages, anas.state.messages);
  const [, , before] = bens.state.messages;
  bens.react(1, "heart");
  await until("Ana sees it", () => anas.state.messages[0].reactions?.[0].userIds.includes("ben"));
  assert.equal(bens.state.messages[2], before);
  await anas.react(3, "+", false).stored;
  assert.equal(anas.state.messages[2].reactions, undefined);
});

test("what the server refuses is rolled back, and says why", async () => {
  const { anas, bens } = await talk(1);
  const edit = bens.edit(1, "not mine");
  assert.equal(bens.state.messages[0].body, "not mine");
  await assert.rejects(edit.stored, { code: "forbidden" });
  const [message] = bens.state.messages;
  assert.deepEqual([message.body, message.pending[0].error.code], ["1", "forbidden"]);
  bens.discard(edit.key);
  assert.equal(bens.state.messages[0].pending, undefined);
  const late = anas.edit(1, "somebody was first", { ifChange: 7 });
  await assert.rejects(late.stored, { code: "version_conflict" });
  assert.equal(anas.state.messages[0].body, "1");
});

test("what was done offline goes out once and in order, after a reload; what changed meanwhile is there", async () => {
  const line = await cable();
  const storage = memoryStorage();
  const { ben, bens, id } = await talk(70);
  const first = await chatOf("ana", { url: line.url, storage });
  const before = first.open(id);
  await until("in", () => before.state.joined);
  line.cut();
  await until("lost", () => first.status.state !== "connected");
  before.edit(69, "first edit");
  before.react(70, "+");
  before.edit(69, "last edit");
  before.react(70, "+", false);
  before.react(70, "heart");
  const typo = before.send("typo");
  before.edit(typo.key, "what was meant");
  const mind = before.send("never mind");
  before.remove(mind.key);
  before.remove(68);
  assert.deepEqual(before.state.pending.map(({ body }) => body), ["what was meant"]);
  first.disconnect();
  for (let seq = 1; seq <= 67; seq += 1) await bens.react(seq, "seen").stored; // more than a join tells
  line.mend();
  const second = await chatOf("ana", { url: line.url, storage });
  const room = second.open(id);
  await until("everything is stored", () => second.pending.length === 0 && room.state.joined && room.state.lastSeq === 71);
  await until("both have the same", () => bens.state.cursor === room.state.cursor && room.state.messages.at(-1)?.seq === 71);
  await room.loadOlder();
  await bens.loadOlder();
  assert.deepEqual(room.state.messages, bens.state.messages);
  assert.deepEqual(shown(room).slice(-4), [[68, null, undefined], [69, "last edit", undefined], [70, "70", [{ reaction: "heart", count: 1, userIds: ["ana"] }]], [71, "what was meant", undefined]]);
  assert.equal(room.state.cursor, 71 + 67 + 3, "each went out once: the edit, the deletion, the one reaction that is left");
  assert.equal(item(ben, id).preview.text, "what was meant");
});

test("a reply shows what it answers, however far back, and as it is now", async () => {
  const { anas, bens, id } = await talk(60);
  await bens.send("I answer", { replyTo: 2 }).stored;
  const late = (await chatOf("ana")).open(id);
  await until("the quote", () => late.state.quoted.get(2)?.body === "2");
  assert.ok(late.state.messages[0].seq > 2);
  await anas.edit(2, "two").stored;
  await until("the edit", () => late.state.quoted.get(2)?.body === "two");
  anas.remove(2);
  assert.equal(anas.state.quoted.get(2).body, "", "one's own, at once");
  await until("the deletion", () => late.state.quoted.get(2)?.deletedAt !== undefined);
  await assert.rejects(bens.send("To nothing", { replyTo: 999 }).stored, { code: "message_not_found" });
});

test("a deletion is undone within its time", async () => {
  const { anas, bens } = await talk(2);
  const [undone, done] = [anas.remove(1, { undoMs: 60_000 }), anas.remove(2, { undoMs: 100 })];
  assert.deepEqual(shown(anas), [[1, null, undefined], [2, null, undefined]]);
  anas.discard(undone.key);
  await done.stored;
  await until("Ben sees it", () => bens.state.messages[1].deletedAt !== undefined);
  assert.deepEqual(shown(bens), [[1, "1", undefined], [2, null, undefined]]);
  assert.deepEqual(shown(anas), shown(bens));
});

test("unread and mentions are exact, open or not, loaded or not; the list shows what the newest message says now", async () => {
  const { ben, anas, bens, id } = await talk(0, { visible: false });
  const away = await chatOf("ben");
  await until("it is in the list", () => item(away, id));
  for (let i = 1; i <= 60; i += 1) anas.send(`${i}`, i % 20 === 0 ? { mentions: ["ben"] } : {});
  const unread = (count, mentions) =>
    until(`${count} unread, ${mentions} mentions`, () =>
      [bens.state, item(ben, id), item(away, id)].every((each) => each.unreadCount === count && each.unreadMentions === mentions));
  await unread(60, 3);
  await anas.remove(60).stored;
  await anas.remove(5).stored;
  await unread(58, 2);
  await anas.edit(59, "for you", { mentions: ["ben"] }).stored;
  await unread(58, 3);
  await until("the preview", () => [ben, away].every((chat) => item(chat, id).preview.text === "for you"));
  const late = await chatOf("ben");
  const room = late.open(id);
  await until("joined", () => room.state.joined && item(late, id));
  assert.deepEqual([room.state.unreadCount, room.state.unreadMentions, item(late, id).unreadCount], [58, 3, 58]);
  await anas.remove(2).stored;
  await until("one less, of what is not loaded", () => room.state.unreadCount === 57 && item(late, id).unreadCount === 57);
  await bens.markRead(20);
  await until("read up to the first mention", () => room.state.unreadCount === 39 && room.state.unreadMentions === 2);
  await unread(39, 2);
  bens.setVisible(true);
  await unread(0, 0);
  await anas.send("again").stored;
  await until("it is read", () => [away, late].every((chat) => item(chat, id).lastSeq === 61 && item(chat, id).readSeq === 61));
});

test("what one settles is on all one's pages: pinned first, archived apart, muted not in the total", async () => {
  const { anas, bens, ben, id } = await talk(1, { visible: false });
  const { id: other } = await ben.createConversation({ participantIds: ["ana"], title: "The newer one" });
  const there = await chatOf("ben");
  const order = (chat) => chat.conversations.state.items.map((each) => each.id).filter((each) => each === id || each === other);
  await until("by activity", () => order(there).join() === [other, id].join());
  await bens.updateSettings({ pinned: true });
  assert.deepEqual([order(ben), bens.state.settings.pinned], [[id, other], true]);
  await until("there too", () => order(there).join() === [id, other].join());
  const total = there.conversations.state.unreadTotal;
  await bens.updateSettings({ muted: true, pinned: false });
  await until("muted", () => there.conversations.state.unreadTotal === total - 1 && item(there, id).unreadCount === 1);
  await bens.updateSettings({ muted: false, archived: true });
  await until("archived", () => there.conversations.state.archived.some((each) => each.id === id) && order(there).join() === other);
  anas.send("It stays there");
  await until("news", () => item(there, id).unreadCount === 2);
  assert.deepEqual(order(there), [other]);
  bens.setVisible(true);
  await until("read", () => item(there, id).unreadCount === 0);
  await bens.updateSettings({ archived: false, markedUnread: true });
  await until("marked", () => item(there, id).settings.markedUnread && there.conversations.state.unreadTotal === total);
});

test("a paused tab with unsent text and changes is closed: the other one sends them, once and in order", async () => {
  const own = await new Server().start(); // one socket for each user
  opened.push(() => own.remove());
  const line = await new Cable(own).lay();
  opened.push(() => line.remove());
  const of = { url: line.url, storage: memoryStorage() };
  const first = await chatOf("ana", of);
  const { id } = await first.createConversation({ participantIds: ["ben"] });
  const paused = first.open(id);
  await paused.send("one").stored;
  const second = startOf("ana", of);
  await until("paused", () => first.status.code === "replaced");
  await connected(second);
  const live = second.open(id);
  await until("in", () => live.state.joined);
  line.cut();
  await until("nobody has a connection", () => second.status.state !== "connected");
  paused.edit(1, "uno");
  paused.react(1, "+");
  paused.send("two");
  await until("kept", async () => (await of.storage.entries("")).filter(([key]) => key.includes("outbox")).length === 3);
  first.disconnect(); // it is closed
  line.mend();
  second.connect();
  await until("everything is stored", () => live.state.lastSeq === 2 && live.state.cursor === 4 && second.pending.length === 0);
  assert.deepEqual(shown(live), [[1, "uno", [{ reaction: "+", count: 1, userIds: ["ana"] }]], [2, "two", undefined]]);
  assert.ok(!own.log.some((each) => each.includes("connects_refused")));
});

test("a storage that is blocked or full is said in the status, and everything works without it", async () => {
  const blocked = async () => Promise.reject(new Error("blocked"));
  const full = { set: async () => Promise.reject(new DOMException("full", "QuotaExceededError")) };
  for (const broken of [full, { entries: blocked, get: blocked, set: blocked, remove: blocked, removeAll: blocked }]) {
    const chat = await chatOf("ana", { storage: { ...memoryStorage(), lasting: true, ...broken } });
    const { id } = await chat.createConversation({ participantIds: ["ben"], title: "A group" });
    const room = chat.open(id);
    const said = new Set();
    chat.subscribe(() => said.add(chat.status.storage));
    await room.send("one").stored;
    await room.edit(1, "uno").stored;
    assert.deepEqual([said.has("memory"), shown(room)], [true, [[1, "uno", undefined]]]);
    await chat.logOut();
  }
});
