"""TF-Hub handles through the real tensorflow-hub, from a server on this machine."""

import gzip
import http.server
import io
import tarfile
import threading

import pytest
import tensorflow_hub as hub
from tiny import write_encoder

from tfsent.encoders import tfhub
from tfsent.errors import AssetError


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.server.asked.append(self.path)
        if self.server.content is None:
            return self.send_error(404)
        self.send_response(200)
        self.send_header("Content-Length", str(len(self.server.content)))
        self.end_headers()
        self.wfile.write(self.server.content)
        return None

    def log_message(self, *words):
        """Quiet."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    monkeypatch.setenv("TFHUB_CACHE_DIR", str(tmp_path / "cache"))
    for name in ("http_proxy", "HTTP_PROXY", "all_proxy", "TFHUB_DISABLE_CERT_VALIDATION", "TFSENT_OFFLINE"):
        monkeypatch.delenv(name, raising=False)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.content, server.asked = archive_of(write_encoder(tmp_path / "bert")), []
    server.handle = f"http://127.0.0.1:{server.server_port}/google/bert/1"
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def archive_of(folder):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.add(folder, arcname=".")
    return out.getvalue()


def test_archive_is_fetched_unpacked_and_cached(server, tmp_path):
    folder = tfhub.resolve(server.handle)
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "bert").iterdir()}
    assert server.asked == ["/google/bert/1?tf-hub-format=compressed"]
    assert tfhub.resolve(server.handle) == folder
    assert hub.resolve(server.handle) == str(folder)
    assert len(server.asked) == 1


def evil(name, kind=tarfile.REGTYPE):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    return out.getvalue()


@pytest.mark.parametrize(
    "content",
    [
        gzip.compress(b"x" * 999)[:-9],
        b"<html>no archive</html>",
        evil("../escaped.txt"),
        evil("link", tarfile.SYMTYPE),
        evil("fifo", tarfile.FIFOTYPE),
        None,
    ],
    ids=["cut", "page", "outside", "link", "fifo", "404"],
)
def test_unsafe_and_damaged_archives_are_refused(server, tmp_path, content):
    good, server.content = server.content, content
    with pytest.raises(AssetError, match="could not be fetched: .* Is the hub reachable, and the address right"):
        tfhub.resolve(server.handle)
    assert not (tmp_path / "escaped.txt").exists()
    server.content = good
    assert (tfhub.resolve(server.handle) / "vocab.txt").is_file()


@pytest.mark.parametrize(
    ("variable", "message"),
    [
        ("TFHUB_DISABLE_CERT_VALIDATION", "TFHUB_DISABLE_CERT_VALIDATION is set: .* set SSL_CERT_FILE"),
        ("TFSENT_OFFLINE", "TFSENT_OFFLINE forbids fetching http"),
    ],
)
def test_unsafe_settings_are_refused(server, monkeypatch, variable, message):
    monkeypatch.setenv(variable, "true")
    with pytest.raises(AssetError, match=message):
        tfhub.resolve(server.handle)
    assert not server.asked


def test_unencrypted_address_is_refused():
    with pytest.raises(AssetError, match="http://example.org/x is not encrypted: .* Expected https"):
        tfhub.resolve("http://example.org/x")


def test_local_folders_and_short_names_are_handles(tmp_path):
    assert tfhub.resolve(str(tmp_path)) == tmp_path
    assert tfhub.full_handle("google/bert/1") == "https://tfhub.dev/google/bert/1"
    assert tfhub.full_handle("gs://bucket/bert") == "gs://bucket/bert"


def test_model_that_is_not_downloaded_is_refused(server, monkeypatch):
    monkeypatch.setattr(hub, "resolve", lambda handle: handle)  # as for a gs:// folder
    with pytest.raises(AssetError, match="tfhub:gs://bucket/bert was not downloaded: .* Expected the address of an ar"):
        tfhub.resolve("gs://bucket/bert")
