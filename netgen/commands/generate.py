"""`python -m netgen generate`: the files of prototxt/ and solvers/, and where trainings write.

The folders are made here, where their names are chosen. Training makes none, as Caffe's does not:
a mistyped snapshot_prefix shall be an error at the start and not a folder to be looked for later.
"""

import sys
from pathlib import Path

from netgen import nets
from netgen.commandline import Parser, say
from netgen.commands import render
from netgen.errors import CaffeError
from netgen.schema import write_bytes

#: What the solvers' snapshot_prefix and the README's logs need to be there.
FOLDERS = ("snapshots", "logs")


def bundled() -> dict[str, list[str]]:
    """{path: arguments of `python -m netgen`} for every generated file of the repository."""
    files = {}
    for name, net in nets.NETS.items():
        stem = nets.stem(name)
        files[f"prototxt/{stem}.prototxt"] = [name]
        files[f"prototxt/{stem}_deploy.prototxt"] = [name, "--deploy"]
        if net.recipe:
            files[f"solvers/{stem}.prototxt"] = ["solver", name]
    return files


def main(argv: list[str]) -> int:
    """Rewrite the files under the current folder, or with --check name the stale ones."""
    parser = Parser(prog="python -m netgen generate", description=main.__doc__)
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
        say(f"wrote {path}", file=sys.stderr)
    if not check:
        for folder in FOLDERS:
            Path(folder).mkdir(exist_ok=True)
    return 0
