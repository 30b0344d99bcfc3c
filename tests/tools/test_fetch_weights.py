"""Weights are fetched only when asked, and only the file that its hash is of."""

import hashlib
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest
from click.testing import CliRunner

from regbench.cli.weights import command
from regbench.errors import DataError, RegbenchError, UsageError
from regbench.tools import fetch_weights
from regbench.tools.fetch_weights import CATALOGUE, Published, fetch

CONTENT = bytes(range(256)) * 9000
HASH = hashlib.sha256(CONTENT).hexdigest()


@pytest.fixture
def server():
    """A server of one file, that counts what it is asked."""

    class Handler(BaseHTTPRequestHandler):
        asked: list[str] = []

        def do_GET(self):
            self.asked.append(self.path)
            if "missing" in self.path:
                self.send_error(404)
                return
            self.send_response(200)
            self.send_header("Content-Length", str(len(CONTENT)))
            self.end_headers()
            self.wfile.write(CONTENT[:1000] if "cut" in self.path else CONTENT)

        def log_message(self, *_):
            pass

    Handler.asked = []
    service = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=service.serve_forever, daemon=True).start()
    service.url = f"http://127.0.0.1:{service.server_port}"
    service.asked = Handler.asked
    yield service
    service.shutdown()
    service.server_close()


def test_a_file_of_the_right_hash_is_kept_and_not_fetched_again(server, tmp_path):
    told = []
    url = f"{server.url}/some.pth"
    path = fetch(url, sha256=HASH.upper(), out=tmp_path, progress=lambda *x: told.append(x))
    assert path == tmp_path / "some.pth"
    assert path.read_bytes() == CONTENT
    assert told[-1] == (len(CONTENT), len(CONTENT))
    assert fetch(url, sha256=HASH, out=tmp_path) == path
    assert len(server.asked) == 1


def test_another_file_is_not_kept(server, tmp_path):
    with pytest.raises(DataError, match=f"SHA-256 is {HASH}, not 0000"):
        fetch(f"{server.url}/some.pth", sha256="0" * 64, out=tmp_path)
    assert list(tmp_path.iterdir()) == []


def test_nothing_is_fetched_without_a_hash(server, tmp_path):
    with pytest.raises(UsageError, match="--sha256 HASH"):
        fetch(f"{server.url}/some.pth", out=tmp_path)
    with pytest.raises(UsageError, match="64 hexadecimal"):
        fetch(f"{server.url}/some.pth", sha256="abc", out=tmp_path)
    assert server.asked == []


def test_a_hash_that_the_publisher_states_in_part(server, tmp_path, monkeypatch):
    monkeypatch.setitem(CATALOGUE, "mine", Published("mine", f"{server.url}/mine.pth", "nothing", HASH[:8]))
    monkeypatch.setitem(CATALOGUE, "false", Published("false", f"{server.url}/false.pth", "nothing", "deadbeef"))
    monkeypatch.setattr(fetch_weights, "hub_cache", lambda: tmp_path / "cache")
    done = CliRunner().invoke(command, ["fetch", "mine"], catch_exceptions=False)
    assert done.stdout.strip() == str(tmp_path / "cache" / "mine.pth")
    with pytest.raises(DataError, match="another file"):
        fetch("false")


@pytest.mark.parametrize(("path", "says"), [("missing.pth", "404"), ("cut.pth", "ended after|fetched")])
def test_what_goes_wrong_is_one_line_and_leaves_nothing(server, tmp_path, path, says):
    with pytest.raises(RegbenchError, match=says):
        fetch(f"{server.url}/{path}", sha256=HASH, out=tmp_path)
    assert list(tmp_path.iterdir()) == []
    with pytest.raises(RegbenchError, match="cannot be fetched"):
        fetch("http://127.0.0.1:9/x.pth", sha256=HASH, out=tmp_path)


def test_unknown_names_are_guessed():
    with pytest.raises(UsageError, match="did you mean 'vgg16'"):
        fetch("vgg-16")


def test_no_hash_is_invented():
    """Only torchvision's names state one."""
    for entry in CATALOGUE.values():
        assert entry.sha256 is None or f"-{entry.sha256}." in entry.url
