"""The errors of this package, and two ways to raise them."""

from netgen.errors import CaffeError


class NetError(CaffeError):
    """A net that Caffe would refuse, told in one line, in Caffe's words where it has any."""


class UnknownShapeError(NetError):
    """A shape that cannot be told from the net: only its data, or running it, tells."""


def require(condition: object, words: str) -> None:
    """Raise NetError(words) unless condition holds."""
    if not condition:
        raise NetError(words)


def require_equal(expected: object, actual: object, words: str) -> None:
    """Raise NetError unless the two are equal; the line ends in `(expected vs. actual)`."""
    if expected != actual:
        raise NetError(f"{words} ({expected} vs. {actual})")
