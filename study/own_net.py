"""Copy a net's prototxt into a study, in the current format; `python -m netgen` has no such net."""

from __future__ import annotations

from netgen import schema
from netgen.commandline import Parser, run


def main(arguments: list[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = Parser.documented("own_net", __doc__, "")
    parser.add_argument("net", metavar="NET.prototxt")
    parser.add_argument("-o", dest="output", required=True, metavar="FILE")
    options = parser.parse_args(arguments)
    net = schema.read_net(options.net)
    text = f"# from {' '.join(options.net.split())}\n{schema.to_text(net)}"
    schema.write_bytes(schema.encode(text), options.output)
    return 0


if __name__ == "__main__":
    run(main)
