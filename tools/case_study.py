"""Run the case study: `python -m study`, also where nothing is installed."""

import checkout  # noqa: F401  (finds the rooms beside this folder)
from study.cli import command

if __name__ == "__main__":
    command()
