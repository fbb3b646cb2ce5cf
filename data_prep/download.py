"""A file that its publisher tells the digests of: fetched over https, or found to be another."""

from __future__ import annotations

import hashlib
import http.client
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass
from email.message import Message
from pathlib import Path
from typing import IO

from data_prep.errors import NoDataError
from data_prep.progress import counting
from netgen.schema import SchemaError, writing


@dataclass(frozen=True)
class Published:
    """A file as its publisher has it.

    url: where; size: in bytes; md5: as hex digits, what publishers of that time tell; sha256:
    the same bytes' digest, which nobody can forge.
    """

    url: str
    size: int
    md5: str
    sha256: str


def download(file: Published, path: Path, timeout: float = 20) -> Path:
    """Fetch a published file to path, which is there when it is whole and proved to be that file.

    The address and all that it redirects to are https, with the certificates checked that the
    system (or SSL_CERT_FILE) trusts; no more bytes are read than the file has. timeout: seconds
    without an answer. Returns path. Raises NoDataError, and leaves nothing, in every case in
    which the file did not come.
    """
    remedy = (
        f"fetch {file.url} (SHA-256 {file.sha256}) elsewhere and put it at {path}, "
        "or name it with --source"
    )
    md5, sha256 = hashlib.md5(usedforsecurity=False), hashlib.sha256()
    try:
        if not file.url.startswith("https://"):
            raise http.client.HTTPException("its address is not https")
        path.parent.mkdir(parents=True, exist_ok=True)
        opener = urllib.request.build_opener(_StaysOnHttps)
        with opener.open(file.url, timeout=timeout) as answer, writing(path) as out:
            told = answer.headers.get("Content-Length")
            if told is not None and told != str(file.size):
                raise NoDataError(
                    f"{file.url} answered with {told} bytes, the file has {file.size}; {remedy}"
                )
            with counting(file.size, path.name, "B", scale=True) as count:
                for block in _blocks(answer, file.size + 1):
                    out.write(block)
                    md5.update(block)
                    sha256.update(block)
                    count(len(block))
            if (md5.hexdigest(), sha256.hexdigest()) != (file.md5, file.sha256):
                raise NoDataError(
                    f"{file.url} answered with other bytes (SHA-256 {sha256.hexdigest()}); "
                    + remedy
                )
    except (OSError, http.client.HTTPException, SchemaError, ValueError) as error:
        if isinstance(error, NoDataError):
            raise
        if isinstance(error, urllib.error.HTTPError):
            error.close()  # it holds the connection
        reason = getattr(error, "reason", None) or error
        raise NoDataError(f"{path.name} could not be downloaded ({reason}); {remedy}") from None
    return path


class _StaysOnHttps(urllib.request.HTTPRedirectHandler):
    """Follows a redirection only to https: on the way over another protocol anybody may write."""

    def redirect_request(
        self,
        req: urllib.request.Request,
        fp: IO[bytes],
        code: int,
        msg: str,
        headers: Message,
        newurl: str,
    ) -> urllib.request.Request | None:
        if not newurl.lower().startswith("https://"):
            fp.close()
            raise http.client.HTTPException(f"it redirects to {newurl!a}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _blocks(answer: IO[bytes], limit: int) -> Iterator[bytes]:
    """What the server sends, a block at a time; a network that fails is no fault of the file.

    limit: the most bytes that are read.
    """
    try:
        while block := answer.read(min(1 << 20, limit)):
            yield block
            limit -= len(block)
    except OSError as error:
        raise http.client.HTTPException(error) from None
