"""`python -m data_prep`."""

from netgen import start

if __name__ == "__main__":
    start.begin()
    import sys

    from data_prep.cli import main

    sys.exit(main())
