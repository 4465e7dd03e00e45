// A real server for the tests, as a process, and a cable to it that can be cut.
import { spawn } from "node:child_process";
import { createHmac } from "node:crypto";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import net from "node:net";
import os from "node:os";
import path from "node:path";
import readline from "node:readline";

const ROOT = new URL("../../../", import.meta.url).pathname;
const PYTHON = process.env.PYTHON ?? path.join(ROOT, ".venv/bin/python");
const SECRET = "a secret of the tests, long enough for HS256";
const DEADLINE_MS = 60_000;

/** What a backend would sign. */
export function token(user, lifetimeS = 3_600, shown = { name: user }) {
  const part = (value) => Buffer.from(JSON.stringify(value)).toString("base64url");
  const text = `${part({ alg: "HS256", typ: "JWT" })}.${part({ ...shown, sub: user, exp: Math.floor(Date.now() / 1_000) + lifetimeS })}`;
  return `${text}.${createHmac("sha256", SECRET).update(text).digest("base64url")}`;
}

/** Wait until something holds. */
export async function until(what, condition) {
  const end = Date.now() + DEADLINE_MS;
  for (let last; ; ) {
    try {
      const value = await condition();
      if (value) return value;
      last = value;
    } catch (error) {
      last = error;
    }
    if (Date.now() > end) throw new Error(`not within ${DEADLINE_MS} ms: ${what}; ${last}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

export class Server {
  #directory;
  #process = null;
  log = [];

  /** @param {Record<string, string>} settings beside the tests' own, as WEBSOCKET_… variables */
  constructor(settings = {}) {
    this.settings = settings;
  }

  async start() {
    this.#directory ??= await mkdtemp(path.join(os.tmpdir(), "chat-"));
    this.port ??= await freePort();
    const clean = Object.fromEntries(Object.entries(process.env).filter(([name]) => !/^(WEBSOCKET_|MONGODB_|NEXT_PUBLIC_|PORT$)/u.test(name)));
    const own = { WEBSOCKET_PORT: `${this.port}`, WEBSOCKET_JWT_SECRET: SECRET, WEBSOCKET_LOG_FORMAT: "json" };
    const store = { WEBSOCKET_STORE_URL: `sqlite:///${path.join(this.#directory, "chat.db")}` };
    this.#process = spawn(PYTHON, ["-m", "socketserver"], {
      ...{ cwd: ROOT, stdio: ["ignore", "ignore", "pipe"], env: { ...clean, ...own, ...store, ...this.settings } },
    });
    readline.createInterface({ input: this.#process.stderr }).on("line", (line) => this.log.push(line));
    await until("the server answers", async () => {
      if (this.#process.exitCode !== null) throw new Error(this.log.join("\n"));
      return (await fetch(`http://127.0.0.1:${this.port}/readyz`)).ok;
    });
    return this;
  }

  async stop(signal = "SIGTERM") {
    if (this.#process === null || this.#process.exitCode !== null) return;
    const gone = once(this.#process, "exit");
    this.#process.kill(signal);
    await gone;
    this.#process = null;
  }

  async remove() {
    await this.stop("SIGKILL");
    if (this.#directory) await rm(this.#directory, { recursive: true });
  }
}

async function freePort() {
  const probe = net.createServer().listen(0, "127.0.0.1");
  await once(probe, "listening");
  const { port } = probe.address();
  probe.close();
  return port;
}

/** A TCP connection between clients and a server, which can be cut, held up, or refuse. */
export class Cable {
  #pairs = new Set();
  #open = true;
  /** What came from the server, as far as it is text. */
  heard = "";

  constructor(server) {
    this.server = server;
  }

  async lay() {
    this.#listener = net.createServer((client) => {
      if (!this.#open) return client.destroy();
      const upstream = net.connect(this.server.port, "127.0.0.1");
      const pair = [client, upstream];
      this.#pairs.add(pair);
      for (const [from, to] of [pair, [upstream, client]]) {
        from.on("data", (data) => to.writable && to.write(data));
        if (from === upstream) from.on("data", (data) => (this.heard += data.toString("latin1")));
        from.on("error", () => {});
        from.on("close", () => (to.destroy(), this.#pairs.delete(pair)));
      }
    });
    this.#listener.listen(0, "127.0.0.1");
    await once(this.#listener, "listening");
    this.url = `http://127.0.0.1:${this.#listener.address().port}`;
    return this;
  }

  #listener;

  cut() {
    this.#open = false;
    this.tear();
  }

  /** Cut what there is; what comes next goes through. */
  tear() {
    for (const pair of this.#pairs) for (const end of pair) end.destroy();
  }

  mend() {
    this.#open = true;
  }

  remove() {
    this.cut();
    this.#listener.close();
  }
}
