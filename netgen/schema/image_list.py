"""Lists of image files with their labels, as ImageData and convert_imageset read them."""

from __future__ import annotations

import os
import re

_ATOI = re.compile(rb"[ \t\n\v\f\r]*([+-]?\d+)")


def parse_image_list(text: bytes) -> list[tuple[str, int]]:
    """[(path, label)] of the lines `path label` of a list.

    Each line is split at its last space (BVLC image_data_layer.cpp, convert_imageset.cpp), and
    the label is read as C's atoi does. Paths are decoded as the file system's names are.
    """
    lines = text.split(b"\n")
    if not lines[-1]:
        lines.pop()
    return [_parse(line) for line in lines]


def _parse(line: bytes) -> tuple[str, int]:
    path, space, label = line.rpartition(b" ")
    return os.fsdecode(path if space else line), atoi(label)


def atoi(text: bytes) -> int:
    """What C's atoi makes of a text: 0.7 is 0, a word is 0."""
    number = _ATOI.match(text)
    value = int(number[1]) if number else 0
    return max(-(2**31), min(value, 2**31 - 1))
