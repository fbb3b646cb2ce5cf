"""What cannot be converted."""

from __future__ import annotations

from collections.abc import Sequence

from netgen.errors import CaffeError


class ConversionError(CaffeError):
    """A model that cannot be read, or cannot be said in Caffe; nothing was written."""


class Refusal(Exception):
    """Why a rule does not take a node; str(refusal) is the reason."""


def refused(nodes: Sequence[tuple[str, str, str]]) -> ConversionError:
    """The error that names every refused node at once: (operator, name, why) of each."""
    several = f"{len(nodes)} nodes cannot" if len(nodes) > 1 else "a node cannot"
    each = "; ".join(f"{op} '{name}': {why}" for op, name, why in nodes)
    operators = ", ".join(sorted({op for op, _, _ in nodes}))
    return ConversionError(f"{several} be said in Caffe ({operators}): {each}")
