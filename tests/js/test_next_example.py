"""The login of the Next.js example, which believes whoever says a name."""

from __future__ import annotations

import json
import subprocess
from typing import Final

import pytest
from support.node import ROOT, missing_node, require

# lib/session.ts as Next.js builds it for a mode, and a request with the cookie of Alice.
SCENE: Final = """
import { build } from "esbuild";
const headers = 'export const cookies = async () => ({ get: () => ({ value: "Alice Martin" }) });';
const { outputFiles } = await build({
  entryPoints: ["examples/next/lib/session.ts"], bundle: true, write: false, format: "esm",
  define: { "process.env.NODE_ENV": JSON.stringify(process.argv[1]) },
  plugins: [{ name: "headers", setup({ onResolve, onLoad }) {
    onResolve({ filter: /^next\\/headers$/ }, () => ({ path: "headers", namespace: "own" }));
    onLoad({ filter: /.*/, namespace: "own" }, () => ({ contents: headers }));
  } }],
});
const { currentUser } = await import(`data:text/javascript,${encodeURIComponent(outputFiles[0].text)}`);
console.log(JSON.stringify(await currentUser().catch((error) => error.message)));
"""


@pytest.mark.parametrize("mode", ["development", "production"])
def test_who_is_logged_in(mode: str) -> None:
    """In development it is whoever the cookie says; in production that would be everybody, and it is refused."""
    require(missing_node())
    if not (ROOT / "node_modules" / "esbuild").is_dir():
        require("the npm packages for development are not installed; run make setup")
    command = ["node", "--input-type=module", "--eval", SCENE, mode]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, check=True, timeout=60)
    said = json.loads(done.stdout)
    if mode == "development":
        assert said == {"id": "alice martin", "name": "Alice Martin"}
    else:
        assert "believes everybody" in said
