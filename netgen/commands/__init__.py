"""The subcommands of `python -m netgen`, a file each; netgen.cli picks one and runs its main."""
