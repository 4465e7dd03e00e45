// Who takes part, on a real server: people who come and go, roles, titles; and who is removed has nothing any more.
import assert from "node:assert/strict";
import { after, afterEach, before, test } from "node:test";
import { createChat, memoryStorage } from "../src/chat.js";
import { Server, token, until } from "./live.js";

const server = new Server({ WEBSOCKET_MESSAGES_PER_SECOND: "0", WEBSOCKET_SOCKETS_PER_USER: "0" });
const opened = [];
before(() => server.start());
after(() => server.remove());
afterEach(() => {
  for (const close of opened.splice(0)) close();
});

async function chatOf(user, more = {}) {
  const chat = createChat({ url: `http://127.0.0.1:${server.port}`, getToken: async () => token(user), storage: memoryStorage(), ...more });
  opened.push(() => chat.disconnect());
  chat.connect();
  await until("connected", () => chat.status.state === "connected");
  return chat;
}

async function group(chat, ...participantIds) {
  const { id } = await chat.createConversation({ participantIds, title: "A group" });
  const room = chat.open(id);
  await until("in", () => room.state.joined);
  return room;
}

/** This checkout's server may be one that does not know of people yet. */
async function known() {
  const chat = await chatOf("ana");
  const failure = await chat.request("set_role", { conversationId: "none", userId: "ben", role: "member" }).catch((error) => error);
  return failure.code !== "unknown_event";
}

const people = (room) => Object.fromEntries(room.state.participants.map(({ userId, role }) => [userId, role]));
const item = (chat, id) => chat.conversations.state.all.find((each) => each.id === id);

test("who is added was shown as an id to those who had it open, until they joined again", async () => {
  const [ana, ben] = [await chatOf("ana"), await chatOf("ben")];
  await chatOf("dora");
  const anas = await group(ana, "ben");
  const bens = ben.open(anas.id);
  await until("in", () => bens.state.joined);
  await anas.addParticipants(["dora"], {});
  await until("Dora is in", () => people(bens).dora === "member");
  assert.equal(bens.state.participants.find(({ userId }) => userId === "dora").name, "dora");
  assert.equal(ben.profiles.state.get("dora").name, "dora");
});

test("people come and go, and have roles; everybody who has it open sees it, and a message of the server's own says so", async (t) => {
  if (!(await known())) return t.skip("this server does not know of people yet");
  const [ana, ben] = [await chatOf("ana"), await chatOf("ben")];
  const anas = await group(ana, "ben");
  await until("Ben has it", () => item(ben, anas.id));
  const bens = ben.open(anas.id);
  await until("in", () => bens.state.joined);
  assert.deepEqual([anas.state.role, bens.state.role], ["owner", "member"]);
  await anas.addParticipants(["cem"], { role: "admin" });
  await until("Cem is in", () => people(bens).cem === "admin" && bens.state.conversation.participantCount === 3);
  await anas.setRole("ben", "admin");
  await until("Ben is an admin", () => bens.state.role === "admin" && people(anas).ben === "admin");
  await bens.update({ title: "Another title" });
  await until("the title", () => anas.state.conversation.title === "Another title" && item(ana, anas.id).title === "Another title");
  await anas.removeParticipant("cem");
  await until("Cem is gone", () => !("cem" in people(bens)) && bens.state.conversation.participantCount === 2);
  await until("both have the same", () => anas.state.cursor === bens.state.cursor && bens.state.cursor === 4);
  assert.deepEqual(anas.state.messages, bens.state.messages);
  assert.deepEqual(bens.state.messages.map(({ kind, system }) => [kind, system.type]), ["added", "role", "title", "removed"].map((type) => ["system", type]));
  assert.deepEqual([bens.state.unreadCount, item(ben, bens.id).unreadCount], [0, 0]);
  await assert.rejects(bens.setRole("ana", "member"), { code: "forbidden" });
});

test("messages of the server's own count as unread nowhere, open or not", async (t) => {
  if (!(await known())) return t.skip("this server does not know of people yet");
  const [ana, ben] = [await chatOf("ana"), await chatOf("ben")];
  const anas = await group(ana, "ben");
  await until("Ben has it", () => item(ben, anas.id));
  await anas.send("one").stored;
  await anas.addParticipants(["cem"]);
  await anas.update({ title: "New" });
  await anas.send("two").stored;
  await until("two unread", () => item(ben, anas.id).lastSeq === 4);
  assert.equal(item(ben, anas.id).unreadCount, 2);
  const bens = ben.open(anas.id);
  await until("in", () => bens.state.joined);
  assert.deepEqual([bens.state.unreadCount, item(ben, anas.id).unreadCount, item(ben, anas.id).preview.text], [2, 2, "two"]);
});

test("who is removed has nothing of it any more, here or offline; who is added again sees what was allowed", async (t) => {
  if (!(await known())) return t.skip("this server does not know of people yet");
  const storage = memoryStorage();
  const [ana, ben] = [await chatOf("ana"), await chatOf("ben", { storage })];
  const anas = await group(ana, "ben");
  const bens = ben.open(anas.id, { visible: true });
  await until("in", () => bens.state.joined);
  await anas.send("before").stored;
  await until("there", () => bens.state.lastSeq === 1);
  await anas.removeParticipant("ben");
  await until("removed", () => bens.state.removed === "removed");
  assert.deepEqual([bens.state.messages, bens.state.joined, item(ben, bens.id)], [[], false, undefined]);
  await assert.rejects(bens.send("Still here?").stored, { code: "conversation_not_found" });
  bens.discard(bens.state.pending[0].key);
  const keys = async () => (await storage.entries("")).filter(([key, value]) => `${key} ${JSON.stringify(value)}`.includes(anas.id));
  await until("nothing is kept", async () => (await keys()).length === 0);
  await anas.send("meanwhile").stored;
  await anas.addParticipants(["ben"], { history: "none" });
  await until("in again", () => bens.state.joined && bens.state.removed === null);
  await anas.send("welcome back").stored;
  await until("there", () => bens.state.messages.at(-1)?.body === "welcome back");
  assert.deepEqual(bens.state.messages.map(({ kind, body }) => kind ?? body), ["system", "welcome back"]);
  assert.equal(bens.state.hasOlder, false);
  await bens.leave();
  await until("left", () => bens.state.removed === "left" && !item(ben, bens.id));
  await until("Ana sees it", () => !("ben" in people(anas)));
});
