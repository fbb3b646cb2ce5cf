"""`python -m netgen generate`: the files of prototxt/ and solvers/."""

import argparse
import sys
from pathlib import Path

from netgen import nets
from netgen.commands import render
from netgen.errors import CaffeError
from netgen.schema import write_bytes


def bundled():
    """{path: arguments of `python -m netgen`} for every generated file of the repository."""
    files = {}
    for name in nets.NETS:
        stem = nets.stem(name)
        files[f"prototxt/{stem}.prototxt"] = [name]
        files[f"prototxt/{stem}_deploy.prototxt"] = [name, "--deploy"]
        files[f"solvers/{stem}.prototxt"] = ["solver", name]
    return files


def main(argv):
    """Rewrite the files under the current folder, or with --check name the stale ones."""
    parser = argparse.ArgumentParser(prog="python -m netgen generate", description=main.__doc__)
    parser.add_argument(
        "--check", action="store_true", help="write nothing; status 1 where a file differs"
    )
    check = parser.parse_args(argv).check
    texts = {Path(path): render.render(command).encode() for path, command in bundled().items()}
    stale = [
        path for path, text in texts.items() if not path.is_file() or path.read_bytes() != text
    ]
    if check and stale:
        raise CaffeError(f"stale: {' '.join(map(str, stale))} (run: python -m netgen generate)")
    for path in stale:
        path.parent.mkdir(exist_ok=True)
        write_bytes(texts[path], path)
        print(f"wrote {path}", file=sys.stderr)
    return 0
