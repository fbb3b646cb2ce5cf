"""`python -m study`, under the name it has had."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from netgen.commandline import run
from study.cli import main

if __name__ == "__main__":
    run(main)
