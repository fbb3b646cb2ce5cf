"""manifest.json: what a finished folder holds. It is written last."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from data_prep.errors import DataError
from netgen.schema import file_digest, read_json, write_json
from netgen.schema.files import StrPath

NAME = "manifest.json"
FORMAT = "data_prep 1"
UNSTABLE = {NAME, "lock.mdb"}  # readers of an LMDB rewrite its lock file


def read_manifest(folder: StrPath) -> dict[str, Any]:
    """The manifest of a finished folder as a dict.

    Raises DataError if there is none, or it is not one of this format.
    """
    path = Path(folder) / NAME
    if not path.exists():
        raise DataError(f"{folder}: not a finished folder, it has no {NAME}")
    manifest = read_json(path, DataError)
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise DataError(f"{path}: format {found!r}, expected {FORMAT!r}")
    facts = {
        "files": {"bytes": int, "sha256": str},
        "databases": {"records": int, "records_sha256": str, "shape": list},
    }
    for part, fields in facts.items():
        entries = manifest.get(part)
        if not isinstance(entries, dict) or not all(
            isinstance(entry, dict) and all(isinstance(entry.get(f), t) for f, t in fields.items())
            for entry in entries.values()
        ):
            raise DataError(f"{path}: damaged, its {part} are not told as they are written")
    if (
        not isinstance(manifest.get("source"), dict)
        or not isinstance(manifest["source"].get("form"), str)
        or not isinstance(manifest.get("options"), dict)
        or not isinstance(manifest.get("dataset"), str)
        or len(manifest["databases"]) != 2
    ):
        raise DataError(f"{path}: damaged, it does not tell what the folder was made of")
    return manifest


def write_manifest(folder: StrPath, manifest: dict[str, Any]) -> dict[str, Any]:
    """Add size and SHA-256 of every file in the folder to manifest, and write it there."""
    folder = Path(folder)
    files = sorted(
        path for path in folder.rglob("*") if path.is_file() and path.name not in UNSTABLE
    )
    manifest = {
        "format": FORMAT,
        **manifest,
        "files": {
            path.relative_to(folder).as_posix(): {
                "bytes": path.stat().st_size,
                "sha256": file_digest(path, "sha256"),
            }
            for path in files
        },
    }
    write_json(manifest, folder / NAME)
    return manifest
