"""TF-Hub handles through tensorflow-hub, from a server on this machine that breaks off, changes its mind, and lies."""

import gzip
import hashlib
import http.server
import io
import tarfile
import threading

import pytest
import tensorflow_hub as hub
from tiny import write_encoder

from tfsent.encoders import tfhub
from tfsent.errors import AssetError


class Server(http.server.ThreadingHTTPServer):
    """Serves one file, with ranges; what it does wrong is set by the tests."""

    def __init__(self):
        super().__init__(("127.0.0.1", 0), Handler)
        self.content, self.tag, self.break_off, self.ranges, self.asked = b"", '"a"', [], True, []
        threading.Thread(target=self.serve_forever, daemon=True).start()

    @property
    def handle(self):
        return f"http://127.0.0.1:{self.server_port}/google/bert/1"


class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        server = self.server
        server.asked.append((self.path, self.headers.get("Range")))
        start = 0
        if server.ranges and self.headers.get("Range") and self.headers.get("If-Range") == server.tag:
            start = int(self.headers["Range"].removeprefix("bytes=").removesuffix("-"))
            if start >= len(server.content):
                return self.send_error(416)
        body = server.content[start:]
        self.send_response(206 if start else 200)
        self.send_header("Content-Length", str(len(body)))
        if server.tag:
            self.send_header("ETag", server.tag)
        self.end_headers()
        self.wfile.write(body[: server.break_off.pop(0)] if server.break_off else body)
        return None

    def log_message(self, *words):
        """Quiet."""


@pytest.fixture
def server(tmp_path, monkeypatch):
    for name in ("TFHUB_CACHE_DIR", "TFSENT_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    for name in ("TFHUB_DISABLE_CERT_VALIDATION", "TFSENT_OFFLINE", "http_proxy", "HTTP_PROXY", "all_proxy"):
        monkeypatch.delenv(name, raising=False)
    server = Server()
    server.content = archive_of(write_encoder(tmp_path / "bert"))
    yield server
    server.shutdown()
    server.server_close()


def archive_of(folder):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        tar.add(folder, arcname=".")
    return out.getvalue()


def test_an_archive_is_fetched_unpacked_and_kept(server, tmp_path):
    folder = tfhub.resolve(server.handle)
    assert {path.name for path in folder.iterdir()} == {path.name for path in (tmp_path / "bert").iterdir()}
    assert server.asked == [("/google/bert/1?tf-hub-format=compressed", None)]
    # tensorflow-hub itself finds it in its cache, under its own name.
    assert hub.resolve(server.handle) == str(folder)
    assert folder.name == hashlib.sha1(server.handle.encode()).hexdigest()
    assert len(server.asked) == 1
    left = {path.name for path in folder.parent.iterdir()} - {folder.name, f"{folder.name}.descriptor.txt"}
    assert not left


def test_a_download_that_breaks_off_goes_on_where_it_stopped(server):
    server.break_off = [700, 900]
    folder = tfhub.resolve(server.handle)
    assert (folder / "model.safetensors").is_file()
    assert [asked[1] for asked in server.asked] == [None, "bytes=700-", "bytes=1600-"]


def test_a_later_try_goes_on_too(server):
    server.break_off = [500, 1, 1, 1]
    with pytest.raises(AssetError, match="broke off at 503 of .* the next try goes on from there"):
        tfhub.resolve(server.handle)
    (folder := tfhub.resolve(server.handle)).iterdir()
    assert server.asked[-1][1] == "bytes=503-"
    assert (folder / "vocab.txt").is_file()


@pytest.mark.parametrize("change", [{"tag": '"b"'}, {"ranges": False}, {"tag": ""}])
def test_another_file_is_never_glued_to_the_rest_of_the_first(server, tmp_path, change):
    server.break_off = [800] * tfhub.ATTEMPTS
    if change == {"tag": ""}:
        server.tag = ""
    with pytest.raises(AssetError):
        tfhub.resolve(server.handle)
    server.content = archive_of(write_encoder(tmp_path / "other", hidden_act="gelu_new"))
    for name, value in change.items():
        setattr(server, name, value)
    folder = tfhub.resolve(server.handle)
    assert "gelu_new" in (folder / "config.json").read_text()


def test_a_file_that_is_whole_already_is_fetched_anew(server):
    """A process killed between download and unpacking leaves such a file."""
    folder = tfhub._cache()
    folder.mkdir(parents=True)
    name = hashlib.sha1(server.handle.encode()).hexdigest()
    (folder / f"{name}.tar.gz.partial").write_bytes(server.content)
    (folder / f"{name}.tar.gz.tag").write_text('"a"')
    assert (tfhub.resolve(server.handle) / "vocab.txt").is_file()
    assert [asked[1] for asked in server.asked] == [f"bytes={len(server.content)}-", None]


def evil(name, kind=tarfile.REGTYPE):
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w:gz") as tar:
        member = tarfile.TarInfo(name)
        member.type, member.linkname = kind, "/etc/passwd"
        tar.addfile(member)
    return out.getvalue()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (gzip.compress(b"x" * 999)[:-9], "is no sound archive"),
        (b"<html>no archive</html>", "is no sound archive"),
        (evil("../escaped.txt"), "is no sound archive .* outside the destination"),
        (evil("link", tarfile.SYMTYPE), "is no sound archive .* it holds 'link', a link or a device. Nothing was"),
        (evil("fifo", tarfile.FIFOTYPE), "is no sound archive .* it holds 'fifo', a link or a device. Nothing was"),
    ],
    ids=["cut", "page", "outside", "link", "fifo"],  # the time is in the bytes, and all workers must see one name
)
def test_an_archive_that_is_none_or_leads_astray_is_refused(server, tmp_path, content, message):
    good, server.content = server.content, content
    with pytest.raises(AssetError, match=message):
        tfhub.resolve(server.handle)
    assert not (tmp_path / "escaped.txt").exists()
    assert not tfhub.cached(server.handle)
    server.content = good
    assert (tfhub.resolve(server.handle) / "vocab.txt").is_file()


def test_an_archive_larger_than_the_disk_is_refused(server, monkeypatch):
    monkeypatch.setattr(tfhub.shutil, "disk_usage", lambda path: type("usage", (), {"free": 10}))
    with pytest.raises(AssetError, match="unpacks to 0 MB; .* has 0 MB"):
        tfhub.resolve(server.handle)


def test_certificate_checks_cannot_be_turned_off(server, monkeypatch):
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "true")
    with pytest.raises(AssetError, match="TFHUB_DISABLE_CERT_VALIDATION is set: .* set SSL_CERT_FILE"):
        tfhub.resolve(server.handle)
    import ssl

    assert tfhub.ResumingResolver()._context.verify_mode == ssl.CERT_REQUIRED


def test_an_unencrypted_address_is_refused(server):
    with pytest.raises(AssetError, match="http://example.org/x is not encrypted: .* Expected https"):
        tfhub.resolve("http://example.org/x")


def test_a_server_that_says_no_is_believed_at_once(server, monkeypatch):
    monkeypatch.setattr(Handler, "do_GET", lambda self: self.send_error(404))
    with pytest.raises(AssetError, match="could not be fetched: HTTP Error 404: Not Found. Is the hub reachable"):
        tfhub.resolve(server.handle)


def test_a_local_folder_is_a_handle(tmp_path):
    assert tfhub.resolve(str(tmp_path)) == tmp_path
    assert tfhub.full_handle("google/bert/1") == "https://tfhub.dev/google/bert/1"
    assert tfhub.full_handle("gs://bucket/bert") == "gs://bucket/bert"
