"""Expected failures of data_prep, each one line for the user."""

from netgen.errors import CaffeError


class DataError(CaffeError):
    """Input, option or folder that cannot be used; the text is the whole message."""


class NoDataError(DataError):
    """No data set on this machine and none to be had from the network."""

    status = 3  # so that a Makefile may fall back to synthetic data
