"""`python -m study` runs a case study."""

from study.cli import command

if __name__ == "__main__":
    command()
