"""The command that serves a model: serve."""

from __future__ import annotations

import os
from pathlib import Path

import click

from tfsent.errors import ConfigError

TOKEN = "TFSENT_SERVE_TOKEN"
LOCAL = ("127.0.0.1", "localhost", "::1")
NEEDED = ("starlette", "uvicorn", "httptools", "prometheus_client")


@click.command(short_help="Serve an exported model over HTTP and gRPC, as TensorFlow Serving does.")
@click.argument("model", type=click.Path(path_type=Path))
@click.option("--name", default="sentiment", show_default=True, help="Of the model in the addresses.")
@click.option("--host", default="127.0.0.1", show_default=True, help="0.0.0.0 answers other machines, too.")
@click.option("--port", type=click.IntRange(0, 65535), default=8501, show_default=True, help="0 takes a free one.")
@click.option("--grpc-port", type=click.IntRange(0, 65535), help="8500 in TensorFlow Serving.  [default: no gRPC]")
@click.option(
    "--workers",
    type=click.IntRange(1, 256),
    help="Texts computed at a time. Each takes 60 to 90 MB; 1 takes least.  [default: one a core, up to 4]",
)
@click.option("--max-body-mb", type=click.FloatRange(0.001, 1024), default=8, show_default=True, help="Of a request.")
@click.option("--max-texts", type=click.IntRange(1), default=1024, show_default=True, help="Of a request.")
@click.option("--queue", type=click.IntRange(1), default=4096, show_default=True, help="Texts that may wait.")
@click.option(
    "--timeout", type=click.FloatRange(0.001), default=30, show_default=True, help="Seconds of a request, at most."
)
@click.option("--grace", type=click.FloatRange(1), default=30, show_default=True, help="Seconds to end in.")
@click.option("--token-file", type=click.Path(path_type=Path), help=f"Holds the token of clients; or set {TOKEN}.")
@click.option("--no-reload", is_flag=True, help="Do not look for new versions.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error", "quiet"]),
    default="info",
    show_default=True,
    help="info writes a line for each request.",
)
def serve(
    model: Path,
    name: str,
    host: str,
    port: int,
    grpc_port: int | None,
    workers: int | None,
    max_body_mb: float,
    max_texts: int,
    queue: int,
    timeout: float,
    grace: float,
    token_file: Path | None,
    no_reload: bool,
    log_level: str,
) -> None:
    """Serve MODEL on CPUs: a .tflite file, a SavedModel, a run, or a folder of its export. Where there is a .tflite
    file, TensorFlow is not loaded.

    Clients ask as they ask TensorFlow Serving, over HTTP and with --grpc-port over gRPC. The address itself is a page
    to try texts on. /monitoring/prometheus/metrics has figures, /healthz says whether requests are answered.

    \b
      tfsent serve runs/quickstart
      curl -d '{"instances": ["Loved every minute."]}' localhost:8501/v1/models/sentiment:predict
      tfsent serve runs/quickstart/export/serving --host 0.0.0.0 --grpc-port 8500 --token-file token.txt

    A new export takes the place of the old one while requests go on: `tfsent export` into the same run is enough. A
    new version that is damaged is refused, and the old one goes on. Replace folders as a whole: files that are
    overwritten in place cannot be told from damaged ones.

    SIGTERM and Ctrl-C end the server once it has answered what it had accepted. The log is JSON, a line for each
    request, and never holds a text.

    TensorFlow Serving is the better choice with a GPU, for many models in one server, for several versions at a time
    with labels (canaries), and for large batches over gRPC. It opens the same RUN/export/serving.
    """
    _require(NEEDED if grpc_port is None else (*NEEDED, "grpc", "google.protobuf"))
    if max_texts > queue:
        raise ConfigError(f"--max-texts is {max_texts} and --queue {queue}: such a request would never have room.")
    if not name or set(name) & set("/:?#%"):
        raise ConfigError(f"--name is a part of an address, without / : ? # and %. Received: {name!r}.")
    token = _token(token_file)
    from tfsent.serving import places, server, settings

    place = places.find(model)
    if host not in LOCAL and token is None:
        click.echo(f"Warning: every machine that reaches {host} may ask. Set --token-file or {TOKEN}.", err=True)
    limits = settings.Limits(
        body_bytes=int(max_body_mb * (1 << 20)), texts=max_texts, queue=queue, answer_seconds=timeout
    )
    chosen = settings.Settings(
        name=name,
        host=host,
        port=port,
        grpc_port=grpc_port,
        workers=workers or settings.default_workers(),
        watch_seconds=None if no_reload else 1.0,
        grace_seconds=grace,
        token=token,
        limits=limits,
        level=log_level,  # type: ignore[arg-type]
    )
    server.serve(place, chosen, click.echo)


def _token(file: Path | None) -> str | None:
    """The token of a file or of the environment.

    Raises:
        ConfigError: there is none in the place that was named, or it cannot stand in a header.
    """
    if file is None:
        where, token = TOKEN, os.environ.get(TOKEN)
        if token is None:
            return None
    else:
        where, token = str(file), file.read_text(encoding="utf-8", errors="replace")
    token = token.strip()
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise ConfigError(f"{where} holds no token. Expected one word of printable ASCII characters.")
    return token


def _require(names: tuple[str, ...]) -> None:
    import importlib.util

    for name in names:
        try:
            found = importlib.util.find_spec(name)
        except ModuleNotFoundError:  # of the package around it
            found = None
        if found is None:
            raise ConfigError(f"tfsent serve needs {name}, which is not installed: pip install 'tfsent[serve]'")


COMMANDS = (serve,)
