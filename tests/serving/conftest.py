"""Fixtures of a server as a process of its own."""

import contextlib
import json

import pytest
from served import HERE, Server


@pytest.fixture(scope="module")
def start():
    """Starts servers: `start(model, slow=0.1, limits={...})`. They end with the module."""
    running = []

    def one(model, *, env=None, **settings):
        server = Server([HERE / "serve_with.py", model, json.dumps(settings)], env)
        running.append(server)
        return server

    yield one
    for server in running:
        with contextlib.suppress(ProcessLookupError):
            server.process.kill()
        server.process.wait()
        server.process.stdout.close()


@pytest.fixture(scope="session")
def mobile(exported):
    return exported / "export" / "mobile"
