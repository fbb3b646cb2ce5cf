"""Downloads from a real https server on this machine, whose certificate the test trusts."""

import hashlib
import shutil
import socket
import ssl
import subprocess
import threading
from dataclasses import replace
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from data_prep import NoDataError
from data_prep.download import Published, download

CONTENT = bytes(range(256)) * 20_000
OTHER = CONTENT[:-1] + b"x"


class Handler(BaseHTTPRequestHandler):
    plain = ""  # the address of the server without TLS

    def do_GET(self):
        to = {"/here": "/file", "/plain": self.plain + "/file", "/ftp": "ftp://127.0.0.1/file"}
        if self.path in to:
            self.send_response(302)
            self.send_header("Location", to[self.path])
            self.end_headers()
        elif self.path == "/absent":
            self.send_error(404)
        else:
            self.send_response(200)
            if self.path in ("/file", "/other", "/short"):
                self.send_header("Content-Length", str(len(CONTENT)))
            if self.path == "/long":
                self.send_header("Content-Length", str(len(CONTENT) + 1))
            self.end_headers()
            self.send_content()

    def send_content(self):
        content = {"/short": CONTENT[:1000], "/other": OTHER}.get(self.path, CONTENT)
        try:
            self.wfile.write(content)
            while self.path == "/endless":
                self.wfile.write(content)
        except OSError:  # the other end has read enough
            pass

    def log_message(self, *arguments):
        pass


def serve(server):
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    yield server.server_port
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture(scope="module")
def certificate(tmp_path_factory):
    folder = tmp_path_factory.mktemp("certificate")
    openssl = shutil.which("openssl")
    if openssl is None:
        pytest.skip("makes a certificate with the command openssl, which is not installed")
    command = (
        f"{openssl} req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 "
        "-subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1 -keyout key.pem -out cert.pem"
    )
    subprocess.run(command.split(), cwd=folder, check=True, capture_output=True, timeout=60)
    return folder / "cert.pem", folder / "key.pem"


@pytest.fixture(scope="module")
def plain():
    yield from serve(HTTPServer(("127.0.0.1", 0), Handler))


@pytest.fixture(scope="module")
def address(certificate, plain):
    Handler.plain = f"http://127.0.0.1:{plain}"
    server = HTTPServer(("127.0.0.1", 0), Handler)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    for port in serve(server):
        yield f"https://127.0.0.1:{port}"


@pytest.fixture(autouse=True)
def trusted(certificate, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    monkeypatch.setenv("SSL_CERT_FILE", str(certificate[0]))


FILE = Published(
    "", len(CONTENT), hashlib.md5(CONTENT).hexdigest(), hashlib.sha256(CONTENT).hexdigest()
)


@pytest.mark.parametrize("name", ["file", "unsized", "here"])
def test_download(address, tmp_path, name):
    path = tmp_path / "data" / "file.tar.gz"
    assert download(replace(FILE, url=f"{address}/{name}"), path) == path
    assert path.read_bytes() == CONTENT and [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize(
    ("name", "reason"),
    [
        ("absent", "Not Found"),
        ("short", "other bytes"),
        ("other", f"other bytes .SHA-256 {hashlib.sha256(OTHER).hexdigest()}"),
        ("long", "answered with 5120001 bytes, the file has 5120000"),
        ("endless", "other bytes"),  # read to one byte more than the file has
        ("plain", "redirects to 'http://127.0.0.1:[0-9]+/file', which is not https"),
        ("ftp", "redirects to 'ftp://127.0.0.1/file', which is not https"),
    ],
)
def test_download_that_fails(address, tmp_path, name, reason):
    path = tmp_path / "file.tar.gz"
    with pytest.raises(NoDataError, match=reason) as caught:
        download(replace(FILE, url=f"{address}/{name}"), path)
    line = str(caught.value)
    assert "\n" not in line and f"{address}/{name}" in line and f"put it at {path}" in line
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("digest", ["md5", "sha256"])
def test_either_digest_refuses(address, tmp_path, digest):
    wrong = replace(FILE, url=f"{address}/file", **{digest: "0" * len(getattr(FILE, digest))})
    with pytest.raises(NoDataError, match=f"other bytes .SHA-256 {FILE.sha256}"):
        download(wrong, tmp_path / "file.tar.gz")
    assert not list(tmp_path.iterdir())


def test_an_address_that_is_not_https(address, tmp_path):
    with pytest.raises(NoDataError, match="its address is not https"):
        download(replace(FILE, url=f"{Handler.plain}/file"), tmp_path / "file.tar.gz")
    assert not list(tmp_path.iterdir())


def test_a_certificate_that_nobody_trusts(address, tmp_path, monkeypatch):
    monkeypatch.delenv("SSL_CERT_FILE")
    with pytest.raises(NoDataError, match="could not be downloaded .*CERTIFICATE_VERIFY_FAILED"):
        download(replace(FILE, url=f"{address}/file"), tmp_path / "file.tar.gz")
    assert not list(tmp_path.iterdir())


def test_nobody_answers(tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"https://127.0.0.1:{free.getsockname()[1]}/x"
        with pytest.raises(NoDataError, match="could not be downloaded .*refused"):
            download(replace(FILE, url=url), tmp_path / "x")
    assert not list(tmp_path.iterdir())
