"""Digests of files, read in blocks."""

import hashlib


def file_digest(path, algorithm):
    """The digest of a file as hex digits; algorithm as hashlib names it."""
    total = hashlib.new(algorithm, usedforsecurity=False)
    with open(path, "rb") as file:
        while block := file.read(1 << 20):
            total.update(block)
    return total.hexdigest()
