// Browsers' storage where it is missing, or never answers.
import assert from "node:assert/strict";
import { mock, test } from "node:test";
import { browserStorage, defaultStorage } from "../src/storage.js";

test("without IndexedDB it is memory, and says so", () => {
  assert.equal(defaultStorage().lasting, false);
});

test("a database that never opens fails after three seconds, one that opens late is used then", async (t) => {
  t.after(() => {
    mock.timers.reset();
    delete globalThis.indexedDB;
  });
  mock.timers.enable({ apis: ["setTimeout"] });
  const request = {};
  globalThis.indexedDB = { open: () => request };
  const storage = browserStorage("test");
  const first = assert.rejects(storage.get("key"), /does not answer/u);
  mock.timers.tick(3_000);
  await first;
  await assert.rejects(storage.get("key"), /does not answer/u, "at once now");
  const transaction = { objectStore: () => ({ get: () => ({ result: "kept" }) }) };
  request.result = { transaction: () => transaction };
  request.onsuccess();
  const second = storage.get("key");
  await null;
  await null;
  transaction.oncomplete();
  assert.equal(await second, "kept");
});
