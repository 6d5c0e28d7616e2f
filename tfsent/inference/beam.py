"""The same shards by Apache Beam: on this machine, on Flink, Spark or Dataflow.

Each row is keyed by its input and its number in it, answered, and grouped into its shard, which a worker writes as
`shard_files.py` does. A shard that is done is left out: the same command continues what was interrupted, whether
it was Beam's or not. Every worker has to see the model, the inputs and OUT under the same paths.
"""

from __future__ import annotations

import contextlib
import importlib.util
import io
import logging
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from tfsent.console import progress_bar
from tfsent.errors import ConfigError, RunError, last_line
from tfsent.inference.bulk import BulkResult
from tfsent.inference.shard_files import Job
from tfsent.inference.shards import finish, undone_sources

INSTALL = "pip install 'tfsent[beam]'"
RUNNERS = {"direct": "FnApiRunner", "flink": "FlinkRunner", "spark": "SparkRunner", "dataflow": "DataflowRunner"}
"""Beam's names. Its DirectRunner would first try to download another runner, and is this one in the end."""
QUIET = ("--default_sdk_harness_log_level=CRITICAL",)
"""Of a worker process, which else reports each of its steps. A later option of the user's wins."""
NEEDED: dict[str, dict[str, str]] = {
    "direct": {},
    "flink": {"flink_master or job_endpoint": "HOST:8081"},
    "spark": {"spark_master_url or job_endpoint": "spark://HOST:7077"},
    "dataflow": {"project": "PROJECT", "region": "REGION", "temp_location": "gs://BUCKET/tmp"},
}
"""Options that must be given to each runner, and what each looks like. Of several names, the first is shown."""
PIPELINE_ROWS = {"direct": 100_000}
"""Rows of the inputs of one pipeline, in about: the local runner has all of them in memory and writes at the end."""
CLUSTER_ROWS = 20_000_000
"""The same on a cluster, where each pipeline takes minutes to start."""


def pipeline_options(runner: str, words: Sequence[str]) -> Any:
    """Return Beam's options.

    Args:
        runner: one of `RUNNERS`.
        words: such as `--direct_num_workers=2`.

    Raises:
        ConfigError: Beam is not installed, an option is unknown or has a wrong value, or one is missing.
    """
    if importlib.util.find_spec("apache_beam") is None:
        raise ConfigError(f"--runner needs Apache Beam, which is not installed here: {INSTALL}")
    for word in words:
        if not re.match(r"--\w", word):
            raise ConfigError(f"--beam-option takes one such as '--direct_num_workers=2'. Received {word!r}.")
    given = {word.removeprefix("--").split("=")[0] for word in words}
    if "runner" in given:
        raise ConfigError("--beam-option is not for the runner. Name it with --runner.")
    for names, example in NEEDED[runner].items():
        if not given & set(names.split(" or ")):
            first, *other = names.split(" or ")
            also = f", or --{other[0]}" if other else ""
            raise ConfigError(f"--runner {runner} needs --beam-option '--{first}={example}'{also}.")
    with _quiet():
        from apache_beam.options.pipeline_options import PipelineOptions

        said = io.StringIO()
        try:
            with contextlib.redirect_stderr(said):
                options = PipelineOptions([f"--runner={RUNNERS[runner]}", *QUIET, *words])
                known = options.get_all_options()
                unknown = options.get_all_options(retain_unknown_options=True).keys() - known.keys()
        except SystemExit:  # argparse has said why
            raise ConfigError(f"--beam-option: {last_line(said.getvalue()).split('error: ')[-1]}.") from None
    if unknown:
        raise ConfigError(
            f"--beam-option --{min(unknown)}: Apache Beam has no such option. Its options are listed at "
            "https://beam.apache.org/documentation."
        )
    return options


def run(model: Path, job: Job, runner: str, options: Any) -> BulkResult:
    """Classify what is not done of a job.

    Args:
        model: any form of one.
        job: of `shards.opened`.
        runner: one of `RUNNERS`.
        options: of `pipeline_options`.

    Raises:
        RunError: the runner failed. What it finished is kept.
    """
    undone, done = undone_sources(job)
    with progress_bar("classifying", job.result(0).rows, done) as bar:
        for sources in _groups(job, undone, PIPELINE_ROWS.get(runner, CLUSTER_ROWS)):
            with _explained(runner), _quiet():
                import apache_beam

                from tfsent.inference import beam_steps

                pipeline = apache_beam.Pipeline(_local_runner(options) if runner == "direct" else None, options=options)
                beam_steps.build(pipeline, str(model.resolve()), job, sources)
                pipeline.run().wait_until_finish()
            bar.update(sum(job.sources[source].rows for source in sources))
    return finish(job, done)


def _local_runner(options: Any) -> Any:
    """Return Beam's runner on this machine, which tells its worker processes the options: how much to log, too."""
    from apache_beam.portability.api import beam_provision_api_pb2
    from apache_beam.runners.portability.fn_api_runner import fn_runner
    from apache_beam.runners.portability.portable_runner import JobServiceHandle

    told = JobServiceHandle.encode_pipeline_options(options.get_all_options())
    info = beam_provision_api_pb2.ProvisionInfo(pipeline_options=told)
    return fn_runner.FnApiRunner(provision_info=fn_runner.ExtendedProvisionInfo(info))


def _groups(job: Job, sources: Sequence[int], rows: int) -> Iterator[list[int]]:
    """Yield the inputs of one pipeline after the other."""
    group: list[int] = []
    for source in sources:
        group.append(source)
        if sum(job.sources[one].rows for one in group) >= rows:
            yield group
            group = []
    if group:
        yield group


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep Beam's log from the terminal: libraries of Google that are missing, each step, and errors that we report."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        yield
    finally:
        logging.disable(before)


@contextlib.contextmanager
def _explained(runner: str) -> Iterator[None]:
    """Turn what a runner or a worker raises, with tracebacks of several machines, into one message."""
    try:
        yield
    except (Exception, SystemExit) as error:
        raise RunError(
            f"Apache Beam's {runner} runner failed: {_said(error)}. What was finished is kept: the same command "
            "continues."
        ) from error


def _said(error: BaseException) -> str:
    """Return what went wrong, in a line."""
    text = str(error)
    if own := re.findall(r"^tfsent\.errors\.\w+: (.*?)\.?(?: \[while running .*)?$", text, re.MULTILINE):
        return str(own[-1])
    if type(error).__name__ == "FutureTimeoutError":
        return "the job endpoint did not answer"
    said = last_line(text) if "Traceback" in text else " ".join(text.split())[:400]
    return said.rstrip(".") or type(error).__name__
