// When a connection is tried, and when not: on a clock that the test sets.
import assert from "node:assert/strict";
import test from "node:test";
import fc from "fast-check";
import { Connection } from "../src/connection.js";
import { FakeClock, FakeNet, FakePage, settled } from "./kit.js";

const refusal = (code, more = {}) => Object.assign(new Error(code), { data: { code, message: `It is ${code}.`, retryable: false, ...more } });
const httpRefusal = (code, more = {}) => {
  const error = { code, message: `It is ${code}.`, retryable: true, ...more };
  return Object.assign(new Error("xhr poll error"), { context: { responseText: JSON.stringify({ ok: false, error }) } });
};
const noAnswer = () => new Error("xhr poll error");

function setUp({ getToken = async () => "token", ...init } = {}) {
  const clock = new FakeClock();
  const net = new FakeNet(clock);
  const page = new FakePage();
  const told = [];
  const handlers = { welcome: () => told.push("welcome"), lost: () => told.push("lost"), event: (name) => told.push(name) };
  const connection = new Connection({ url: "http://chat", getToken, handlers, clock, io: net.io, page, ...init });
  const states = [];
  connection.subscribe(() => states.at(-1) === connection.status.state || states.push(connection.status.state));
  /** The connection stands for so long. */
  const connect = async (forMs = 60_000) => {
    net.outcome = "welcome";
    connection.connect();
    await clock.pass(forMs);
    net.outcome = noAnswer();
  };
  return { clock, net, page, connection, told, states, connect };
}

const gaps = (moments) => moments.slice(1).map((at, i) => at - moments[i]);

test("three attempts after 2, 4 and 8 s, then a button, and quiet attempts every 30 to 60 s", async () => {
  const { clock, net, connection, connect, states } = setUp();
  await connect();
  assert.equal(connection.status.state, "connected");
  const lostAt = clock.now();
  net.last.lose();
  const { state, attempt, of, code, retryAt } = connection.status;
  assert.deepEqual({ state, attempt, of, code }, { state: "retrying", attempt: 1, of: 3, code: "unreachable" });
  assert.ok(retryAt > clock.wall());
  await clock.pass(14_000);
  assert.deepEqual(gaps([lostAt, ...net.attempts.slice(1)]), [2_000, 4_000, 8_000]);
  assert.deepEqual(states, ["connecting", "connected", "retrying", "offline"]);
  clock.chance = 0.5;
  const before = net.attempts.length;
  await clock.pass(10 * 60_000);
  const quiet = net.attempts.slice(before);
  for (const gap of gaps(quiet)) assert.ok(gap >= 30_000 && gap <= 62_000, String(gap));
  assert.equal(connection.status.state, "offline", "quiet attempts say nothing");
  net.outcome = "welcome";
  await clock.pass(62_000);
  assert.equal(connection.status.state, "connected");
});

test("the button begins a new count, at once", async () => {
  const { clock, net, connection, connect } = setUp();
  await connect();
  net.last.lose();
  await clock.pass(20_000);
  const before = net.attempts.length;
  connection.connect();
  await settled();
  assert.equal(net.attempts.length, before + 1);
  assert.deepEqual([connection.status.state, connection.status.attempt], ["retrying", 1]);
});

test("somebody who comes back to the page, the network or something to send make a quiet attempt now", async () => {
  for (const wake of [
    ({ page }) => page.say("focus"),
    ({ page }) => (page.show(false), page.show(true)),
    ({ page }) => page.say("online"),
    ({ connection }) => connection.wake(),
  ]) {
    const all = setUp();
    await all.connect();
    all.net.last.lose();
    await all.clock.pass(20_000);
    assert.equal(all.connection.status.state, "offline");
    const before = all.net.attempts.length;
    all.net.outcome = "welcome";
    wake(all);
    await settled();
    assert.equal(all.net.attempts.length, before + 1);
    assert.equal(all.connection.status.state, "connected");
  }
});

test("looking again and again makes 12 attempts a minute at the most, where the server refuses the 21st", async () => {
  const { clock, net, page, connect } = setUp();
  await connect();
  net.last.lose();
  await clock.pass(20_000);
  const before = net.attempts.length;
  for (let i = 0; i < 600; i += 1) {
    page.say("focus");
    await clock.pass(100);
  }
  const made = net.attempts.slice(before);
  assert.ok(made.length <= 13, String(made.length));
  for (const gap of gaps(made)) assert.ok(gap >= 5_000, String(gap));
});

test("who is accepted and dropped does not come back for ever: the count goes on until a connection has held", async () => {
  const { clock, net, connection, connect } = setUp();
  await connect(1_000);
  net.outcome = "welcome";
  for (let i = 0; i < 5; i += 1) {
    net.last.lose();
    await clock.pass(9_000);
  }
  net.last.lose();
  await settled();
  assert.equal(connection.status.state, "offline");
  const withinAMinute = net.attempts.filter((at) => at > clock.now() - 60_000);
  assert.ok(withinAMinute.length < 20);
});

test("`retryAfterMs` is the earliest moment: chance, the button and a look at the page only make it later", async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer({ min: 1, max: 90_000 }), fc.double({ min: 0, max: 0.999, noNaN: true }), fc.boolean(), async (ms, chance, impatient) => {
      const { clock, net, page, connection, connect } = setUp();
      await connect();
      clock.chance = chance;
      const at = clock.now();
      net.last.say("session_ended", { code: "restart", message: "", reconnect: true, retryAfterMs: ms });
      const before = net.attempts.length;
      for (let i = 0; i < 10; i += 1) {
        if (impatient) (connection.connect(), connection.wake(), page.say("focus"), page.say("online"));
        await clock.pass(12_000);
      }
      const [first] = net.attempts.slice(before);
      assert.ok(first - at >= ms, `${first - at} of ${ms}`);
    }),
    { numRuns: 50 },
  );
});

test("clients that were told the same moment do not come at the same moment", async () => {
  const moments = [];
  for (const chance of [0, 0.5, 0.9]) {
    const { clock, net, connect } = setUp();
    await connect();
    clock.chance = chance;
    const at = clock.now();
    net.last.say("session_ended", { code: "restart", message: "", reconnect: true, retryAfterMs: 4_000 });
    await clock.pass(10_000);
    moments.push(net.attempts[1] - at);
  }
  assert.equal(new Set(moments).size, 3);
  assert.ok(moments.every((ms) => ms >= 4_000 && ms <= 5_000), moments.join());
});

test("an end with `reconnect: false` is not repeated by itself; the button does", async () => {
  const { clock, net, page, connection, connect, told } = setUp();
  await connect();
  net.last.say("session_ended", { code: "replaced", message: "Elsewhere.", reconnect: false });
  assert.deepEqual([connection.status.state, connection.status.code], ["ended", "replaced"]);
  assert.equal(net.last.connected, false, "the socket is closed");
  assert.ok(told.includes("lost"));
  for (let i = 0; i < 20; i += 1) {
    page.say("focus");
    page.say("online");
    connection.wake();
    await clock.pass(60_000);
  }
  assert.equal(net.attempts.length, 1);
  net.outcome = "welcome";
  connection.connect();
  await settled();
  assert.equal(connection.status.state, "connected");
  assert.equal(connection.status.code, null);
});

test("a refusal that is not retryable ends it, over Socket.IO and over HTTP", async () => {
  for (const error of [refusal("auth_required"), httpRefusal("origin_not_allowed", { retryable: false })]) {
    const { clock, net, connection } = setUp();
    net.outcome = error;
    connection.connect();
    await clock.pass(10 * 60_000);
    assert.equal(connection.status.state, "ended");
    assert.equal(net.attempts.length, 1);
  }
});

test("`too_many_connects` stops it, and says from when on a button helps", async () => {
  const { clock, net, connection } = setUp();
  net.outcome = refusal("too_many_connects", { retryable: true, retryAfterMs: 40_000 });
  connection.connect();
  await clock.pass(30_000);
  assert.deepEqual([connection.status.state, net.attempts.length], ["ended", 1]);
  assert.ok(connection.status.retryAt > clock.wall());
  net.outcome = "welcome";
  connection.connect();
  assert.equal(connection.status.state, "retrying");
  await clock.pass(9_000);
  assert.equal(net.attempts.length, 1, "not before that moment");
  await clock.pass(3_000);
  assert.equal(connection.status.state, "connected");
});

test("other refusals are tried again, not before their moment", async () => {
  for (const error of [refusal("auth_unavailable", { retryable: true, retryAfterMs: 7_000 }), httpRefusal("draining", { retryAfterMs: 7_000 })]) {
    const { clock, net, connection } = setUp();
    net.outcome = error;
    connection.connect();
    await clock.pass(6_999);
    assert.deepEqual([connection.status.state, connection.status.code], ["retrying", error.data?.code ?? "draining"]);
    assert.equal(net.attempts.length, 1);
    await clock.pass(2_000);
    assert.equal(net.attempts.length, 2);
  }
});

test("a refused token is renewed once", async () => {
  const asked = [];
  const { clock, net, connection } = setUp({ getToken: async ({ renew }) => (asked.push(renew), renew ? "fresh" : "old") });
  net.outcome = refusal("token_expired");
  connection.connect();
  await clock.pass(60_000);
  assert.deepEqual(asked, [false, true]);
  assert.deepEqual([connection.status.state, connection.status.code], ["ended", "token_expired"]);
  assert.deepEqual(net.last.auth, { token: "fresh" });
  net.outcome = "welcome";
  connection.connect();
  await settled();
  assert.deepEqual(asked, [false, true, true]);
});

test("a token that expires while connected is renewed at the next attempt", async () => {
  const asked = [];
  const { clock, net, connection, connect } = setUp({ getToken: async ({ renew }) => (asked.push(renew), "t") });
  await connect();
  net.outcome = "welcome";
  net.last.say("session_ended", { code: "token_expired", message: "", reconnect: true });
  await clock.pass(5_000);
  assert.equal(connection.status.state, "connected");
  assert.deepEqual(asked, [false, true]);
});

test("only the newest token is sent, and a token that never comes does not hold everything up", async () => {
  const tokens = [];
  const { clock, net, connection } = setUp({ getToken: () => new Promise((resolve) => tokens.push(resolve)) });
  net.outcome = "welcome";
  connection.connect();
  await clock.pass(30_000);
  assert.equal(connection.status.state, "retrying");
  await clock.pass(2_000);
  assert.equal(tokens.length, 2);
  tokens[0]("late");
  await settled();
  assert.deepEqual(net.attempts, [], "the late one was used");
  tokens[1]("present");
  await settled();
  assert.deepEqual(net.last.auth, { token: "present" });
  assert.equal(connection.status.state, "connected");
});

test("a token that cannot be had is an attempt that failed, not the end", async () => {
  let down = true;
  const { clock, net, connection } = setUp({
    getToken: async () => {
      if (down) throw new TypeError("fetch failed");
      return "t";
    },
  });
  net.outcome = "welcome";
  connection.connect();
  await clock.pass(1_000);
  assert.deepEqual([connection.status.state, connection.status.code], ["retrying", "no_token"]);
  down = false;
  await clock.pass(2_000);
  assert.equal(connection.status.state, "connected");
});

test("a server that answers nothing is given up after 30 s", async () => {
  const { clock, net, connection } = setUp();
  connection.connect();
  await clock.pass(29_000);
  assert.equal(connection.status.state, "connecting");
  await clock.pass(4_000);
  assert.deepEqual([connection.status.state, net.attempts.length], ["retrying", 2]);
});

test("a device that is offline says so within seconds, and comes back as soon as it can", async () => {
  const { clock, net, page, connection, connect } = setUp();
  await connect();
  page.say("offline"); // the connection seems to stand, and carries nothing
  await clock.pass(4_000);
  assert.deepEqual([connection.status.state, connection.status.code], ["retrying", "no_network"]);
  await clock.pass(60_000);
  assert.deepEqual([connection.status.state, connection.status.code], ["offline", "no_network"]);
  net.outcome = "welcome";
  await clock.pass(6_000);
  page.say("online");
  await settled();
  assert.equal(connection.status.state, "connected");
});

test("a network that says offline and carries nevertheless, as to one's own machine, keeps its connection", async () => {
  const { clock, net, page, connection, connect } = setUp();
  await connect();
  net.answers.list_conversations = () => ({ conversations: [] });
  page.say("offline");
  await clock.pass(10_000);
  assert.equal(connection.status.state, "connected");
});

test("the network's return does not wait for the attempt that is due", async () => {
  const { clock, net, page, connection, connect } = setUp();
  await connect();
  page.navigator.onLine = false;
  net.last.lose();
  await clock.pass(7_000); // two attempts failed, the third is due in 7 s
  net.outcome = "welcome";
  page.say("online");
  await clock.pass(4_000);
  assert.equal(connection.status.state, "connected");
});

test("a page that comes back after a while finds out in 4 s that its connection is dead", async () => {
  const { clock, page, connection, connect } = setUp();
  await connect();
  page.show(false);
  await clock.pass(60_000);
  page.show(true);
  await clock.pass(3_000);
  assert.equal(connection.status.state, "connected");
  await clock.pass(1_000);
  assert.equal(connection.status.state, "retrying");
});

test("what the server recommends in `welcome` counts", async () => {
  const { clock, net, connection, connect } = setUp();
  await connect();
  net.last.welcome({ reconnection: { attempts: 2, delayMs: 500, delayMaxMs: 600 } });
  await clock.pass(20_000);
  const lostAt = clock.now();
  net.last.lose();
  assert.equal(connection.status.of, 2);
  await clock.pass(1_200);
  assert.deepEqual(gaps([lostAt, ...net.attempts.slice(1)]), [500, 600]);
  assert.equal(connection.status.state, "offline");
});

test("disconnecting leaves nothing behind: no listener, no timer, no socket", async () => {
  for (const outcome of ["welcome", "silence", noAnswer()]) {
    const { clock, net, page, connection } = setUp();
    net.outcome = outcome;
    for (let i = 0; i < 3; i += 1) {
      connection.connect();
      await clock.pass(50);
      connection.disconnect();
      assert.deepEqual([connection.status.state, connection.status.code], ["offline", "closed"]);
    }
    await clock.pass(10 * 60_000);
    assert.equal(page.listening, 0);
    assert.equal(clock.size, 0);
    assert.ok(net.sockets.every(({ connected }) => !connected));
    assert.ok(net.attempts.length <= 3);
  }
});

test("one socket at a time, whatever happens", async () => {
  const act = fc.constantFrom("connect", "disconnect", "lose", "end", "stay", "focus", "offline", "online", "hide", "show", "pass", "long", "up", "down");
  await fc.assert(
    fc.asyncProperty(fc.array(act, { maxLength: 60 }), async (acts) => {
      const { clock, net, page, connection } = setUp();
      net.outcome = noAnswer();
      const open = () => net.sockets.filter(({ connected }) => connected).length;
      for (const each of acts) {
        if (each === "connect") connection.connect();
        else if (each === "disconnect") connection.disconnect();
        else if (each === "lose") net.last?.connected && net.last.lose();
        else if (each === "end") net.last?.connected && net.last.say("session_ended", { code: "restart", message: "", reconnect: true, retryAfterMs: 3_000 });
        else if (each === "stay") net.last?.connected && net.last.say("session_ended", { code: "kicked", message: "", reconnect: false });
        else if (each === "hide" || each === "show") page.show(each === "show");
        else if (each === "pass") await clock.pass(1_500);
        else if (each === "long") await clock.pass(70_000);
        else if (each === "up") net.outcome = "welcome";
        else if (each === "down") net.outcome = noAnswer();
        else page.say(each);
        await settled();
        assert.ok(open() <= 1);
        assert.equal(open() === 1, connection.status.state === "connected");
        const { state, retryAt } = connection.status;
        if (state === "retrying" && net.last && retryAt === null) assert.ok(clock.size > 0, "nothing is due");
      }
      for (let i = 1; i < net.attempts.length; i += 1) {
        const minute = net.attempts.filter((at) => at > net.attempts[i] - 60_000 && at <= net.attempts[i]);
        const asked = acts.filter((each) => each === "connect").length;
        assert.ok(minute.length <= 16 + 4 * asked, `${minute.length} attempts within a minute`);
      }
    }),
    { numRuns: 200 },
  );
});

test("an event right behind an ack comes after it: the ack's change is taken in its turn", async () => {
  const { net, connection, told, connect } = setUp();
  await connect();
  const request = connection.request("leave_conversation", { conversationId: "c" }, () => told.push("ack"));
  await settled();
  const [asked] = net.last.asked;
  asked.taken(null, { ok: true }); // both in one packet
  net.last.say("user_typing", { conversationId: "c", userId: "ben", typing: false });
  await request;
  assert.deepEqual(told.slice(-2), ["ack", "user_typing"]);
});

test("what is asked without a connection, or over one that is lost meanwhile, fails as `disconnected`", async () => {
  const { net, connection, connect } = setUp();
  await assert.rejects(connection.request("leave_conversation", { conversationId: "c" }), { code: "disconnected", retryable: true });
  await connect();
  const request = connection.request("leave_conversation", { conversationId: "c" });
  const failed = assert.rejects(request, { code: "disconnected" });
  net.last.say("session_ended", { code: "restart", message: "", reconnect: true });
  await failed;
});

test("what the server does not answer in 10 s fails as `timeout`, and what it refuses as it says", async () => {
  const { clock, net, connection, connect } = setUp();
  await connect();
  const late = assert.rejects(connection.request("leave_conversation", { conversationId: "c" }), { code: "timeout", retryable: true });
  await clock.pass(10_000);
  await late;
  net.answers.join_conversation = () => ({ error: { code: "conversation_not_found", message: "No.", retryable: false } });
  const refused = connection.request("join_conversation", { conversationId: "c" });
  await assert.rejects(refused, { code: "conversation_not_found", retryable: false, message: "No." });
});
