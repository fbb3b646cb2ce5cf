"""`python -m study` runs a case study."""

from netgen import start

if __name__ == "__main__":
    start.begin()
    from study.cli import command

    command()
