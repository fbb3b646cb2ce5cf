"""JSON files: read with one-line errors, written whole and so that a person can read them."""

from __future__ import annotations

import json
import os
from typing import Any

from netgen.errors import CaffeError
from netgen.schema.files import SchemaError, StrPath, read_bytes, write_bytes

_HOLDERS = (dict, list, tuple)


def read_json(path: StrPath, error: type[CaffeError] = SchemaError) -> Any:
    """The value in a JSON file; raises `error` with one line naming the file.

    A key given twice in an object is refused: the second would silently win. So is half a
    surrogate pair, which json lets through and which no file's name and no output can hold.
    """
    try:
        value = json.loads(read_bytes(path), object_pairs_hook=_object)
        json.dumps(value, ensure_ascii=False).encode()
        return value
    except SchemaError as reason:  # already names the file
        raise error(str(reason)) from None
    except (ValueError, RecursionError) as reason:
        raise error(f"{os.fspath(path)}: not JSON: {reason}") from None


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    if len(value) < len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"{twice!r} is given twice")
    return value


def write_json(value: Any, path: StrPath) -> None:
    """Write a file with json_text(value), whole or not at all. Raises SchemaError."""
    write_bytes(f"{json_text(value)}\n".encode(), path)


def json_text(value: Any, indent: str = "") -> str:
    """`value` as indented JSON, each list of plain values on one line of its own.

    Raises ValueError for what JSON has no word for, NaN among it.
    """
    if isinstance(value, dict) and value:
        parts = [
            f"{json.dumps(str(key))}: {json_text(item, indent + '  ')}"
            for key, item in value.items()
        ]
    elif isinstance(value, (list, tuple)) and any(isinstance(v, _HOLDERS) for v in value):
        parts = [json_text(item, indent + "  ") for item in value]
    else:
        return json.dumps(value, allow_nan=False)
    opening, closing = "{}" if isinstance(value, dict) else "[]"
    lines = f",\n{indent}  ".join(parts)
    return f"{opening}\n{indent}  {lines}\n{indent}{closing}"
