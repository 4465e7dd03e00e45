// What a stranger installs: how large it is, what is in it, and that it works without this repository.
import assert from "node:assert/strict";
import { execFileSync } from "node:child_process";
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import os from "node:os";
import path from "node:path";
import test from "node:test";
import { gzipSync } from "node:zlib";
import { build } from "esbuild";

const PACKAGE = new URL("..", import.meta.url).pathname;
const MOST_BYTES = 16_500;

/** In one bundle, as an application has them. */
async function gzipped(...entries) {
  const contents = entries.map((entry) => `export * from "./${entry}";`).join("");
  const { outputFiles } = await build({
    ...{ stdin: { contents, resolveDir: path.join(PACKAGE, "src") }, bundle: true, minify: true, format: "esm", write: false },
    external: ["socket.io-client", "react"],
  });
  return gzipSync(outputFiles[0].contents, { level: 9 }).length;
}

test("less than 16.5 kB after gzip, without socket.io-client; React's hooks are a part of that", async (t) => {
  const [chat, both] = [await gzipped("chat.js"), await gzipped("chat.js", "react.js")];
  t.diagnostic(`chat.js ${chat} bytes, with react.js ${both} bytes`);
  assert.ok(both < MOST_BYTES, `${both} bytes`);
});

test("the packed package has its sources, its types and its licence, and nothing else; it installs and runs", (t) => {
  const directory = mkdtempSync(path.join(os.tmpdir(), "chat-pack-"));
  t.after(() => rmSync(directory, { recursive: true }));
  const copy = path.join(directory, "copy"); // the types are made there, so that tests beside this one see none that is half made
  cpSync(PACKAGE, copy, { recursive: true, filter: (name) => !name.includes("node_modules") && !name.endsWith("types") });
  const typescript = createRequire(import.meta.url).resolve("typescript/package.json");
  const modules = path.resolve(typescript, "../..");
  symlinkSync(modules, path.join(directory, "node_modules"));
  const told = execFileSync("npm", ["pack", "--json", "--pack-destination", directory], { cwd: copy, encoding: "utf8" });
  const [{ filename, files }] = JSON.parse(told.slice(told.indexOf("[")));
  const names = files.map((file) => file.path).sort();
  const sources = readdirSync(path.join(PACKAGE, "src")).filter((name) => name.endsWith(".js"));
  const expected = [
    ...["LICENSE", "README.md", "package.json", "src/wire.d.ts", "types/wire.d.ts"],
    ...sources.flatMap((name) => [`src/${name}`, `types/${name.replace(".js", ".d.ts")}`]),
  ];
  assert.deepEqual(names, expected.sort());

  const app = mkdtempSync(path.join(os.tmpdir(), "chat-app-"));
  t.after(() => rmSync(app, { recursive: true }));
  mkdirSync(path.join(app, "node_modules", "chat-socketserver-client"), { recursive: true });
  execFileSync("tar", ["-xzf", path.join(directory, filename), "--strip-components=1", "-C", path.join(app, "node_modules", "chat-socketserver-client")]);
  writeFileSync(path.join(app, "package.json"), '{"type": "module"}');
  for (const name of readdirSync(modules)) {
    if (name === ".bin" || name === "typescript" || name.startsWith("chat-")) continue;
    if (/^(socket\.io|engine\.io|@socket\.io|debug|ms|ws|xmlhttprequest)/u.test(name)) {
      cpSync(path.join(modules, name), path.join(app, "node_modules", name), { recursive: true });
    }
  }
  const program = `
    import { createChat } from "chat-socketserver-client";
    const chat = createChat({ url: "http://127.0.0.1:9", getToken: async () => "" });
    console.log(chat.status.state, typeof chat.open("c").send);
    const types: { state: string } = chat.status;
  `;
  writeFileSync(path.join(app, "app.js"), program.replace(": { state: string }", ""));
  const out = execFileSync("node", ["app.js"], { cwd: app, encoding: "utf8" });
  assert.equal(out, "offline function\n");

  writeFileSync(path.join(app, "app.ts"), `${program}const wrong: number = chat.status.state;\n`);
  for (const strict of [true, false]) {
    const compilerOptions = { strict, noEmit: true, skipLibCheck: true, module: "esnext", moduleResolution: "bundler", target: "es2022", types: [] };
    writeFileSync(path.join(app, "tsconfig.json"), JSON.stringify({ compilerOptions, files: ["app.ts"] }));
    assert.throws(
      () => execFileSync("node", [path.join(modules, "typescript", "lib", "tsc.js")], { cwd: app, encoding: "utf8", stdio: "pipe" }),
      (error) => {
        assert.deepEqual(error.stdout.match(/error TS\d+/gu), ["error TS2322"], error.stdout);
        return true;
      },
    );
  }
});

test("the pages that show the package use what it has", async () => {
  const root = path.join(PACKAGE, "..", "..");
  for (const page of ["README.md", "docs/react.md", "clients/js/README.md"]) {
    const text = readFileSync(path.join(root, page), "utf8");
    const blocks = [...text.matchAll(/^```(?:jsx?|tsx?)\n(.*?)^```/gmsu)].map(([, code]) => code);
    const shown = blocks.filter((code) => /from "chat-socketserver-client/u.test(code));
    assert.ok(shown.length > 0, `${page} shows no import`);
    for (const contents of shown) {
      const alias = { "chat-socketserver-client": path.join(PACKAGE, "src", "chat.js"), "chat-socketserver-client/react": path.join(PACKAGE, "src", "react.js") };
      const stdin = { contents, loader: "tsx", resolveDir: PACKAGE };
      const { warnings } = await build({ stdin, alias, bundle: true, format: "esm", jsx: "automatic", write: false, external: ["react", "react/*", "socket.io-client", "./*"], logLevel: "silent" });
      assert.deepEqual(warnings.map(({ text }) => text), [], page);
    }
  }
});

test("every file has a page's length", () => {
  for (const name of readdirSync(path.join(PACKAGE, "src")).filter((each) => each.endsWith(".js"))) {
    const lines = readFileSync(path.join(PACKAGE, "src", name), "utf8").split("\n").length;
    assert.ok(lines <= 450, `${name} has ${lines} lines`);
  }
});
