"""atheris on one parser: `python -m chaos.atheris_parsers NAME [options of libFuzzer]`. Status 0: nothing found."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["socketserver"]):
    from chaos.parsers import CORPUS, PARSERS


def main() -> None:
    name, *options = sys.argv[1:]
    with tempfile.TemporaryDirectory(prefix="corpus-") as folder:
        for number, one in enumerate(CORPUS[name]):
            (Path(folder) / str(number)).write_bytes(one)
        atheris.Setup([sys.argv[0], f"-artifact_prefix={folder}/", *options, folder], PARSERS[name])
        atheris.Fuzz()


if __name__ == "__main__":
    main()
