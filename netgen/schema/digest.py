"""Digests of files, read in blocks."""

from __future__ import annotations

import hashlib

from netgen.schema.files import StrPath


def file_digest(path: StrPath, algorithm: str = "sha256") -> str:
    """The digest of a file as hex digits; algorithm: as hashlib names it. Raises OSError."""
    total = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()
