"""The error of this package, and the two ways a rule raises it."""

from netgen.errors import CaffeError


class NetError(CaffeError):
    """A net that Caffe would refuse; str(error) is one line, in Caffe's words where it has any."""


class UnknownShapeError(NetError):
    """A shape that the net does not say: only its data, or running it, does."""


def require(condition, words):
    """Raise NetError(words) unless condition holds."""
    if not condition:
        raise NetError(words)


def require_equal(expected, actual, words):
    """Raise NetError unless the two are equal; the line ends in `(expected vs. actual)`."""
    if expected != actual:
        raise NetError(f"{words} ({expected} vs. {actual})")
