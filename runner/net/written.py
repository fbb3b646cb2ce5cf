"""What a .resume tells of the model and the state that were written with it."""

from __future__ import annotations

import os
import zipfile
from typing import Any

import torch

from netgen import schema
from netgen.errors import CaffeError

RESUME = ".resume"


def model_of(state_path: str) -> str:
    """The path of the model that was written with a solver state."""
    stem, _, tail = state_path.rpartition(".solverstate")
    return f"{stem}.caffemodel{tail}"


def resume_of(path: str) -> str:
    """The path of the .resume that was written with a model or a solver state; "" of others."""
    stem, dot, tail = path.rpartition(".caffemodel" if ".caffemodel" in path else ".solverstate")
    return f"{stem}.solverstate{tail}{RESUME}" if dot else ""


def read_resume(path: str) -> dict[str, Any]:
    """What a .resume holds. Raises CaffeError, in one line without the path, and OSError.

    Its parts are stored as they are, so that nothing in it can take more memory than the file.
    """
    try:
        with zipfile.ZipFile(path) as archive:
            if any(part.compress_type != zipfile.ZIP_STORED for part in archive.infolist()):
                raise CaffeError("it holds something compressed, which no .resume does")
            if archive.testzip() is not None:
                raise CaffeError("it is damaged: its checksum is another")
        content = torch.load(path, weights_only=True)
        if not isinstance(content, dict) or "iter" not in content:
            raise CaffeError("it is no .resume")
        _check_numbers(content)
        return content
    except (CaffeError, OSError):
        raise
    except Exception as error:  # an unreadable file may fail in any way inside the unpickler
        raise CaffeError(f"unreadable ({type(error).__name__})") from None


def _check_numbers(value: Any) -> None:
    """Refuse whole numbers that no training writes: its counts and seeds are never negative."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, (list, tuple)):
        for item in value:
            _check_numbers(item)
    elif isinstance(value, int) and not 0 <= value < 1 << 64:
        raise CaffeError(f"it holds the number {value}, which no training writes")


def digest_of(path: str, content: dict[str, Any]) -> str | None:
    """The SHA-256 that a .resume's content tells of a model or state; None from old versions."""
    digests = content.get("digests", {})
    return digests.get("model" if ".caffemodel" in os.path.basename(path) else "state")


def check(path: str, content: dict[str, Any]) -> None:
    """Raise CaffeError where a model or state has other bytes than were written."""
    written = digest_of(path, content)
    if written is None:
        return
    found = schema.file_digest(path)
    if found != written:
        raise CaffeError(
            f"{path} has SHA-256 {found}, {written} was written: it is damaged, or of another run"
        )


def check_model(path: str) -> None:
    """Refuse a model whose bytes are not those that the .resume beside it tells of.

    A file without a readable .resume is taken as it is. Raises CaffeError.
    """
    resume = resume_of(path)
    if not resume or not os.path.isfile(path):
        return
    try:
        content = read_resume(resume)
    except (CaffeError, OSError):
        return
    try:
        check(path, content)
    except CaffeError as error:
        raise CaffeError(
            f"{error} ({resume} tells so). Take another snapshot; a copy under another name is "
            "taken as it is"
        ) from None
