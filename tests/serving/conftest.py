"""Fixtures of a server as a process of its own."""

import contextlib
import json

import pytest
from served import HERE, Server


@pytest.fixture(scope="module")
def start():
    """Starts servers: `start(model, slow=0.1, limits={...})`. They end with the module."""
    with _servers() as start_command:
        yield lambda model, *, env=None, **settings: start_command(
            [HERE / "serve_with.py", model, json.dumps(settings)], env
        )


@pytest.fixture(scope="module")
def start_command():
    """Starts servers by their command: `start_command([SCRIPT, WORD, …], env)`."""
    with _servers() as start:
        yield start


@contextlib.contextmanager
def _servers():
    running = []

    def start(command, env=None):
        running.append(Server(command, env))
        return running[-1]

    yield start
    for server in running:
        with contextlib.suppress(ProcessLookupError):
            server.process.kill()
        server.process.wait()
        server.process.stdout.close()


@pytest.fixture(scope="session")
def mobile(exported):
    return exported / "export" / "mobile"
