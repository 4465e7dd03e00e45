"""Modules joined into one: by what they say when they run, and what they do not say."""

from __future__ import annotations

import subprocess
from collections.abc import Mapping
from pathlib import Path
from socketserver.handlers.joining import CannotJoin, join, modules_of

import pytest
from support.node import missing_node, require

ROOT = Path(__file__).resolve().parents[2]
NAMES = {"said": "/x/said.js"}

A = """\
// Not for the browser.
import { told, $ } from "said";
import {
  word as first,
} from "./deep/b.js";
export { other } from "./deep/b.js";

/**
 * Nor is this.
 */
export const all = [first(), told, $];
const last = "import { nothing } from \\"./nowhere.js\\"; // stays";
export { last as end };
told(JSON.stringify([all.length, all[0], last]));
"""
B = """\
import { word as same } from "../c.js";
export async function* other() {}
export function word() { return same + "!"; }
"""
C = 'export const word = "one";\nexport class Unused {}\n'
SAID = "export const told = (text) => console.log(text);\nexport const $ = 1;\n"


def written(directory: Path, **modules: str) -> Mapping[str, Path]:
    files = {}
    for name, text in modules.items():
        file = directory / f"{name}.js"
        file.write_text(text, encoding="utf-8")
        files["/x/" + ("deep/" if name == "b" else "") + file.name] = file
    return files


def test_modules_run_as_one(tmp_path: Path) -> None:
    """Each once, after those that it needs; names of one are not those of another; what is text stays text."""
    require(missing_node())
    files = written(tmp_path, a=A, b=B, c=C, said=SAID)
    modules = modules_of("/x/a.js", files, NAMES)
    assert sorted(modules) == sorted(files)
    assert modules.index("/x/c.js") < modules.index("/x/deep/b.js") < modules.index("/x/a.js")
    joined = join(modules, files, NAMES)
    assert "Not for the browser" not in joined
    assert "Nor is this" not in joined
    (tmp_path / "all.mjs").write_text(joined, encoding="utf-8")
    run = subprocess.run(["node", tmp_path / "all.mjs"], capture_output=True, text=True, timeout=60, check=False)
    assert (run.stderr, run.stdout) == ("", '[3,"one!","import { nothing } from \\"./nowhere.js\\"; // stays"]\n')


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("export default 1;\n", "/x/a.js has 'export default 1;'"),
        ("export let a = 1;\n", "/x/a.js has 'export let a = 1;'"),
        ('import * as all from "./c.js";\n', "/x/a.js has 'import \\* as all"),
        ('import { a } from "./nowhere.js";\n', "there is no /x/nowhere.js"),
        ('import { a } from "./a.js";\n', "/x/a.js imports itself"),
    ],
)
def test_what_cannot_be_joined(tmp_path: Path, text: str, reason: str) -> None:
    """A form that is not known is named, and not half understood."""
    files = written(tmp_path, a=text, c=C)
    with pytest.raises(CannotJoin, match=reason):
        join(modules_of("/x/a.js", files, {}), files, {})
