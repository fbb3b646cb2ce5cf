import hashlib
import socket
import threading
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from data_prep import DataError, NoDataError
from data_prep.source import download, find_or_download

CONTENT = bytes(range(256)) * 20_000


class Handler(BaseHTTPRequestHandler):
    def do_GET(self):
        if self.path == "/absent":
            self.send_error(404)
            return
        self.send_response(200)
        self.send_header("Content-Length", str(len(CONTENT)))
        self.end_headers()
        self.wfile.write(CONTENT[:1000] if self.path == "/short" else CONTENT)

    def log_message(self, *arguments):
        pass


@pytest.fixture(scope="module")
def address():
    server = HTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    thread.join()
    server.server_close()


@pytest.fixture
def no_proxy(monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")


MD5 = hashlib.md5(CONTENT).hexdigest()


def test_download(address, no_proxy, tmp_path):
    path = tmp_path / "data" / "file.tar.gz"
    assert download(address + "/file", MD5, path) == path
    assert path.read_bytes() == CONTENT and [*path.parent.iterdir()] == [path]


@pytest.mark.parametrize("name, reason", [("absent", "Not Found"), ("short", "other bytes")])
def test_download_that_fails(address, no_proxy, tmp_path, name, reason):
    path = tmp_path / "file.tar.gz"
    with pytest.raises(NoDataError, match=reason) as caught:
        download(f"{address}/{name}", MD5, path)
    line = str(caught.value)
    assert "\n" not in line and f"{address}/{name}" in line and f"put it at {path}" in line
    assert not list(tmp_path.iterdir())


def test_wrong_md5_is_never_kept(address, no_proxy, tmp_path):
    with pytest.raises(NoDataError, match=f"other bytes .MD5 {MD5}"):
        download(address + "/file", "0" * 32, tmp_path / "file.tar.gz")
    assert not list(tmp_path.iterdir())


def test_nobody_answers(no_proxy, tmp_path):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        with pytest.raises(NoDataError, match="could not be downloaded .*refused"):
            download(f"http://127.0.0.1:{free.getsockname()[1]}/x", MD5, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_what_is_there_is_not_downloaded(python_folder):
    assert find_or_download(python_folder.parent) == python_folder


def test_an_archive_that_is_not_the_official_one(python_folder, tmp_path, pack_folder):
    pack_folder(python_folder, tmp_path / "cifar-10-python.tar.gz")
    with pytest.raises(DataError, match="the official one c58f30108f718f92721af3b95e74349a") as e:
        find_or_download(tmp_path)
    assert not isinstance(e.value, NoDataError)
