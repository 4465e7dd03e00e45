"""ES modules joined into one, so that a page on a slow line asks once, and not fifty times six at a time.

The few forms of import and export that the demo page, the modules that the examples share, and the client keep to:

    import { a, b as c } from "./x.js";    export const a = …    export function a…    export class A…
    export { a, b as c };                  export { a } from "./x.js";

Each module becomes a function that is called at once, so that names stay its own. Without a build step there is nobody
else to do it; the modules themselves stay what browsers read, and what one edits.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

_IMPORT: Final = re.compile(r'^import \{([^}]*)\} from "([^"]+)";$', re.MULTILINE)
_EXPORTED_NAMES: Final = re.compile(r'^export \{([^}]*)\}(?: from "([^"]+)")?;$', re.MULTILINE)
_EXPORTED: Final = re.compile(r"^export (?=(?:async )?(?:function\*?|class|const) ([\w$]+))", re.MULTILINE)
_UNKNOWN: Final = re.compile(r"^(?:import|export)\b.*$", re.MULTILINE)

# On lines of their own: they are for who reads the modules.
_COMMENT: Final = re.compile(r"^[ \t]*(?://.*|/\*(?:[^*]|\*(?!/))*\*/[ \t]*)\n", re.MULTILINE)


class CannotJoin(Exception):
    """A module has a form that is not known here, or modules import each other in a circle."""


def modules_of(entry: str, files: Mapping[str, Path], names: Mapping[str, str]) -> list[str]:
    """The URL paths of a module and of all that it imports, each after those that it needs.

    Args:
        files: URL path → file.
        names: what the page's import map says.
    Raises: CannotJoin; OSError.
    """
    found: dict[str, None] = {}
    _visit(entry, files, names, found, ())
    return list(found)


def join(modules: list[str], files: Mapping[str, Path], names: Mapping[str, str]) -> str:
    """Those modules, in that order, as one.

    Raises: CannotJoin; OSError.
    """
    numbers = {path: f"module{i}" for i, path in enumerate(modules)}
    return "\n".join(_wrapped(path, files[path], numbers, names) for path in modules)


def _visit(
    path: str, files: Mapping[str, Path], names: Mapping[str, str], found: dict[str, None], above: tuple[str, ...]
) -> None:
    if path in above:
        raise CannotJoin(f"{path} imports itself, by {' and '.join(above[above.index(path) + 1 :])}")
    if path in found:
        return
    if path not in files:
        raise CannotJoin(f"there is no {path}")
    text = files[path].read_text(encoding="utf-8")
    for pattern in (_IMPORT, _EXPORTED_NAMES):
        for _, wanted in pattern.findall(text):
            if wanted:
                _visit(_resolved(wanted, path, names), files, names, found, (*above, path))
    found[path] = None


def _resolved(wanted: str, path: str, names: Mapping[str, str]) -> str:
    if wanted.startswith("."):
        return posixpath.normpath(posixpath.join(posixpath.dirname(path), wanted))
    return names.get(wanted, wanted)


def _wrapped(path: str, file: Path, numbers: Mapping[str, str], names: Mapping[str, str]) -> str:
    given: dict[str, str] = {}

    def imported(found: re.Match[str]) -> str:
        wanted = ", ".join(f"{name}: {here}" for name, here in _pairs(found[1]))
        return f"const {{ {wanted} }} = {numbers[_resolved(found[2], path, names)]};"

    def exported_names(found: re.Match[str]) -> str:
        place = f"{numbers[_resolved(found[2], path, names)]}." if found[2] else ""
        given.update((outside, place + name) for name, outside in _pairs(found[1]))
        return ""

    def exported(found: re.Match[str]) -> str:
        given[found[1]] = found[1]
        return ""

    text = file.read_text(encoding="utf-8")
    text = _EXPORTED.sub(exported, _EXPORTED_NAMES.sub(exported_names, _IMPORT.sub(imported, text)))
    text = _COMMENT.sub("", text)
    if unknown := _UNKNOWN.search(text):
        raise CannotJoin(f"{path} has {unknown[0]!r}")
    result = ", ".join(f"{outside}: {name}" for outside, name in given.items())
    return f"// {path}\nconst {numbers[path]} = (() => {{\n{text}\nreturn {{ {result} }};\n}})();"


def _pairs(names: str) -> list[tuple[str, str]]:
    """`a, b as c` → a as a, b as c."""
    words = [name.split() for name in names.split(",") if name.strip()]
    return [(each[0], each[-1]) for each in words]
