"""`tail -f LOG | python -m runner.log`: of a growing log the lines that tell how it goes."""

import sys

from runner.log.lines import read_line


def main() -> None:
    """Copy those lines from standard input to standard output, each as it comes."""
    for text in sys.stdin:
        if read_line(text).tells_progress:
            print(text, end="", flush=True)


if __name__ == "__main__":
    main()
