"""`python -m study` runs a case study."""

from netgen.commandline import run
from study.cli import main

if __name__ == "__main__":
    run(main)
