"""Check a finished folder against its manifest."""

from __future__ import annotations

from pathlib import Path

from data_prep.manifest import read_manifest
from data_prep.progress import progress
from data_prep.records import RecordDigest, number_of, read_lmdb
from netgen.schema import file_digest
from netgen.schema.files import StrPath
from netgen.schema.lmdb import LMDBError


def verify(folder: StrPath) -> list[str]:
    """Every way in which the folder differs from its manifest, a line each; [] if none.

    Files are compared by size and SHA-256; then the records of each LMDB are read in
    order and compared by keys, count and digest. An LMDB whose file is damaged is not
    opened, for LMDB trusts its pages. Raises DataError if there is no manifest.
    """
    folder = Path(folder)
    manifest = read_manifest(folder)
    problems = {
        name: problem
        for name, facts in progress(manifest["files"].items(), "files")
        if (problem := _check_file(folder / name, facts))
    }
    lines = [f"{folder / name}: {problem}" for name, problem in problems.items()]
    for name, facts in progress(manifest["databases"].items(), "records"):
        if f"{name}/data.mdb" in problems:
            continue
        if problem := _check_records(folder / name, facts):
            lines.append(f"{folder / name}: {problem}")
    return lines


def _check_file(path: Path, facts: dict) -> str | None:
    try:
        size = path.stat().st_size
        if size != facts["bytes"]:
            return f"{size} bytes, the manifest says {facts['bytes']}"
        found = file_digest(path, "sha256")
    except OSError as error:
        return error.strerror
    if found != facts["sha256"]:
        return f"SHA-256 {found}, the manifest says {facts['sha256']}"
    return None


def _check_records(path: Path, facts: dict) -> str | None:
    digest, count = RecordDigest(), 0
    try:
        for count, (key, value) in enumerate(read_lmdb(path), start=1):
            if number_of(key) != count - 1:
                return f"record {count - 1} has key {key!r}"
            digest.update(key, value)
    except LMDBError as error:
        return str(error).removeprefix(f"{path}: ")
    except OSError as error:
        return f"data.mdb: {error.strerror}"
    if count != facts["records"]:
        return f"{count} records, the manifest says {facts['records']}"
    if digest.hexdigest() != facts["records_sha256"]:
        return (
            f"the records have SHA-256 {digest.hexdigest()}, "
            f"the manifest says {facts['records_sha256']}"
        )
    return None
