"""The real Hugging Face client against a hub on this machine: `HF_ENDPOINT`, a download that breaks off, the record."""

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
    """As much of the hub's API as its client needs. The large file breaks off half-way, once."""

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


def tfsent(tmp_path, endpoint, *words, code=0, **more):
    own = {"HF_ENDPOINT": endpoint, "HF_HOME": str(tmp_path / "hf"), "TFSENT_CACHE": str(tmp_path / "cache")}
    kept = {k: v for k, v in os.environ.items() if "proxy" not in k.lower() and not k.startswith(("HF_", "TFSENT_"))}
    command = [sys.executable, "-m", "tfsent", *words]
    done = subprocess.run(command, capture_output=True, text=True, env={**kept, **own, **more}, check=False)
    assert done.returncode == code, done.stderr
    assert "Traceback" not in done.stderr
    return done.stderr if code else done.stdout


def test_a_model_is_fetched_from_a_mirror_recorded_and_never_silently_replaced(hub, tmp_path):
    handler, endpoint = hub
    (handler.folder / "pytorch_model.bin").write_bytes(b"a pickle")
    out = tfsent(tmp_path, endpoint, "encoders", "fetch", "hf:owner/name")
    assert f"1,896 parameters, revision {COMMIT}" in out
    weights = [asked for asked in handler.asked if asked[0] == "GET" and "model.safetensors" in asked[1]]
    assert len(weights) == 2  # broken off once; the client goes on at whole chunks of 10 MB, and this file is smaller
    assert not [asked for asked in handler.asked if "pytorch_model.bin" in asked[1]]
    # From here on no hub is needed.
    before = len(handler.asked)
    result = json.loads(tfsent(tmp_path, endpoint, "encoders", "check", "hf:owner/name", "--json", TFSENT_OFFLINE="1"))
    assert (result["recorded"], result["revision"], len(handler.asked)) == ("same", COMMIT, before)
    # The hub moves on: said when it is asked, and what is here stays what it was.
    handler.commit = "f" * 40
    write_encoder(handler.folder, hidden_act="gelu_new")
    message = tfsent(tmp_path, endpoint, "encoders", "fetch", "hf:owner/name", code=1)
    assert "Error: hf:owner/name changed since it was fetched: " in message
    assert json.loads(tfsent(tmp_path, endpoint, "encoders", "check", "hf:owner/name", "--json"))["revision"] == COMMIT
