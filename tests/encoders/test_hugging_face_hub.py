"""The real Hugging Face client and a hub on this machine (`HF_ENDPOINT`), whose download breaks off once."""

import hashlib
import http.server
import json
import os
import subprocess
import sys
import threading

import pytest
from tiny import write_encoder

COMMIT = "0123456789abcdef0123456789abcdef01234567"


class Hub(http.server.BaseHTTPRequestHandler):
    """The part of the hub's API that the client needs. The download of the weights breaks off half-way, once."""

    protocol_version = "HTTP/1.1"
    folder, asked, broken, commit = None, [], set(), COMMIT

    def do_HEAD(self):
        self.answer(body=False)

    def do_GET(self):
        self.answer(body=True)

    def answer(self, body):
        self.asked.append((self.command, self.path, self.headers.get("Range")))
        if self.path.startswith("/api/models/owner/name"):
            files = [{"type": "file", "path": path.name, "oid": "0", "size": 1} for path in self.folder.iterdir()]
            about = files if "/tree/" in self.path else {"id": "owner/name", "sha": self.commit}
            return self.send(json.dumps(about).encode(), body, {"Content-Type": "application/json"})
        name = self.path.rsplit("/", 1)[-1].split("?")[0]
        if not self.path.startswith("/owner/name/resolve/") or not (self.folder / name).is_file():
            return self.send(b"", body, {"X-Error-Code": "EntryNotFound"}, status=404)
        content = (self.folder / name).read_bytes()
        headers = {"ETag": f'"{hashlib.sha256(content).hexdigest()}"', "X-Repo-Commit": self.commit}
        headers["Accept-Ranges"] = "bytes"
        asked = self.headers.get("Range")
        if asked:
            start = int(asked.removeprefix("bytes=").partition("-")[0])
            headers["Content-Range"] = f"bytes {start}-{len(content) - 1}/{len(content)}"
            return self.send(content[start:], body, headers, status=206)
        cut = body and name == "model.safetensors" and name not in self.broken
        if cut:
            self.broken.add(name)
        return self.send(content, body, headers, cut=len(content) // 2 if cut else None)

    def send(self, content, body, headers, status=200, cut=None):
        self.send_response(status)
        for name, value in {**headers, "Content-Length": str(len(content))}.items():
            self.send_header(name, value)
        self.end_headers()
        if body:
            self.wfile.write(content[:cut])
        if cut is not None:
            self.close_connection = True

    def log_message(self, *words):
        """Quiet."""


@pytest.fixture
def hub(tmp_path):
    handler = type("OneHub", (Hub,), {"folder": write_encoder(tmp_path / "hub"), "asked": [], "broken": set()})
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield handler, f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


CONSOLE = """
import json, sys
from click.testing import CliRunner
from tfsent.cli.main import main
for line in sys.stdin:
    words, settings = json.loads(line)
    done = CliRunner().invoke(main, words, env=settings)
    print(json.dumps([done.exit_code, done.stdout, done.stderr]), flush=True)
"""
"""Runs several commands in one process, which loads TensorFlow once."""


@pytest.fixture
def tfsent(hub, tmp_path):
    """Run a command in a process whose hub is `hub`; return its exit code, standard output and standard error."""
    own = {"HF_ENDPOINT": hub[1], "HF_HOME": str(tmp_path / "hf"), "TFSENT_CACHE": str(tmp_path / "cache")}
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith(("HF_", "TFSENT_"))}
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True, "env": {**kept, **own}}
    with subprocess.Popen([sys.executable, "-c", CONSOLE], **pipes) as process:

        def run(*words, **settings):
            process.stdin.write(json.dumps([words, settings]) + "\n")
            process.stdin.flush()
            return json.loads(process.stdout.readline())

        yield run
        process.stdin.close()


def test_mirror_is_fetched_recorded_and_never_replaced(hub, tfsent):
    handler, _ = hub
    (handler.folder / "pytorch_model.bin").write_bytes(b"a pickle")
    code, out, _ = tfsent("encoders", "fetch", "hf:owner/name")
    assert code == 0
    assert f"1,896 parameters, revision {COMMIT}" in out
    weights = [asked for asked in handler.asked if asked[0] == "GET" and "model.safetensors" in asked[1]]
    assert len(weights) == 2  # the first broke off
    assert not [asked for asked in handler.asked if "pytorch_model.bin" in asked[1]]
    # The record needs no hub.
    before, check = len(handler.asked), ("encoders", "check", "hf:owner/name", "--json")
    code, out, _ = tfsent(*check, TFSENT_OFFLINE="1")
    assert (code, len(handler.asked)) == (0, before)
    assert (json.loads(out)["recorded"], json.loads(out)["revision"]) == ("same", COMMIT)
    # A newer commit at the hub is an error when the hub is asked, and changes nothing here.
    handler.commit = "f" * 40
    write_encoder(handler.folder, hidden_act="gelu_new")
    code, _, errors = tfsent("encoders", "fetch", "hf:owner/name")
    assert code == 1
    assert "Error: hf:owner/name changed since it was fetched: " in errors
    assert json.loads(tfsent(*check)[1])["revision"] == COMMIT


def test_a_pull_request_is_a_revision(hub, tfsent):
    """Where weights in safetensors wait to be merged. The revision that is recorded is its commit."""
    handler, _ = hub
    handler.broken.add("model.safetensors")
    code, out, errors = tfsent("encoders", "fetch", "hf:owner/name@refs/pr/1#layers=1")
    assert code == 0, errors
    assert f"1,296 parameters, revision {COMMIT}" in out
    assert any("/revision/refs%2Fpr%2F1" in path for _, path, _ in handler.asked)
    asked = len(handler.asked)
    code, out, _ = tfsent("encoders", "check", "hf:owner/name@refs/pr/1", "--json", TFSENT_OFFLINE="1")
    assert (code, len(handler.asked)) == (0, asked)
    assert (json.loads(out)["recorded"], json.loads(out)["layers"]) == ("same", 2)
