"""Load a server that speaks TensorFlow Serving's REST, and say how fast it answered.

    python load.py --clients 4 --duration 30               # closed loop: each client asks when it has its answer
    python load.py --rate 50 --duration 30 --batch 8       # open loop: 50 requests a second, whatever the server does

In an open loop requests are due at random (Poisson) times, and a latency counts from when the request was due, not from
when it could be sent: a server that falls behind is not spared by clients that wait for it. The requests are made
before the clock starts, so little of the machine is taken: the report says how much. Needs client.py and connections.py
beside it.
"""

from __future__ import annotations

import argparse
import asyncio
import collections
import itertools
import json
import os
import random
import statistics
import sys
import time
from dataclasses import dataclass, field
from typing import Any

from client import (
    TOKEN_VARIABLE,
    ServingError,
    above_zero,
    authorization,
    positive,
    predict_path,
    read_texts,
    request_body,
    rows,
    split_url,
)
from connections import Pool

EXAMPLES = [b"Loved every minute of it.", b"The plot never starts, and the actors do not care."]
PERCENTILES = (50, 90, 95, 99)
AFTER_REFUSAL = 0.1  # seconds that a client of the closed loop waits when it could not connect


@dataclass
class Tally:
    """What came back: latencies in seconds of the requests that were answered, and errors by kind."""

    latencies: list[float] = field(default_factory=list)
    lags: list[float] = field(default_factory=list)
    errors: collections.Counter[str] = field(default_factory=collections.Counter)
    last_body: bytes = b""
    first_error: bytes = b""


@dataclass
class Target:
    """Finished requests, which are sent again and again, and the connections to send them on."""

    requests: list[bytes]
    pool: Pool


async def one(target: Target, number: int, due: float, tally: Tally) -> bool:
    """Send request `number`, and count how it ended. Returns whether the server could be reached."""
    try:
        connection = await target.pool.borrow()
    except (OSError, TimeoutError) as error:
        tally.errors["timeout" if isinstance(error, TimeoutError) else "cannot connect"] += 1
        return False
    try:
        tally.lags.append(time.perf_counter() - due)
        status, body = await connection.ask(target.requests[number % len(target.requests)], target.pool.timeout)
    except TimeoutError:
        tally.errors["timeout"] += 1
    except ConnectionResetError:
        tally.errors["connection closed"] += 1
    else:
        if status == 200:
            tally.latencies.append(time.perf_counter() - due)
            tally.last_body = body
        else:
            tally.errors[f"HTTP {status}"] += 1
            tally.first_error = tally.first_error or body
    finally:
        target.pool.give_back(connection)
    return True


async def closed_loop(target: Target, clients: int, count: int | None, duration: float | None, tally: Tally) -> None:
    """Let each client send its next request when the last is answered, until `count` are sent or time is up."""
    numbers = itertools.count() if count is None else iter(range(count))
    end = time.perf_counter() + duration if duration is not None else float("inf")

    async def client() -> None:
        for number in numbers:
            now = time.perf_counter()
            if now >= end:
                return
            if not await one(target, number, now, tally):
                await asyncio.sleep(AFTER_REFUSAL)

    await asyncio.gather(*(client() for _ in range(clients)))


async def open_loop(target: Target, dues: list[float], tally: Tally) -> None:
    """Send a request at each of `dues`, in seconds from now, and wait for all answers."""
    start = time.perf_counter()
    tasks = []
    for number, due in enumerate(dues):
        ahead = start + due - time.perf_counter()
        if ahead > 0:
            await asyncio.sleep(ahead)
        elif number % 64 == 0:
            await asyncio.sleep(0)  # answers are read even when sending falls behind
        tasks.append(asyncio.create_task(one(target, number, start + due, tally)))
    await asyncio.gather(*tasks)


def poisson_times(rate: float, count: int | None, duration: float | None, seed: int) -> list[float]:
    """Return when requests are due, in seconds: `count` of them, or all before `duration`."""
    draw = random.Random(seed)
    times = itertools.accumulate(draw.expovariate(rate) for _ in itertools.count())
    if count is not None:
        return list(itertools.islice(times, count))
    return list(itertools.takewhile(lambda t: t < (duration or 0), times))


def make_requests(texts: list[Any], batch: int, host: str, path: str, token: str) -> list[bytes]:
    """Return finished HTTP requests of `batch` texts each. The last takes texts from the beginning to be full."""
    ring = itertools.cycle(texts)
    headers = {"Host": host, "Content-Type": "application/json", **authorization(token)}
    made = []
    for _ in range(-(-len(texts) // batch)):
        body = request_body(itertools.islice(ring, batch))
        lines = [f"POST {path} HTTP/1.1", *(f"{k}: {v}" for k, v in headers.items()), f"Content-Length: {len(body)}"]
        made.append("\r\n".join([*lines, "", ""]).encode() + body)
    return made


def percentiles(values: list[float]) -> dict[str, float]:
    """Return p50, p90, p95, p99, mean and max, by linear interpolation between the nearest two values."""
    cuts = statistics.quantiles(values * 2 if len(values) == 1 else values, n=100, method="inclusive")
    found = {f"p{p}": cuts[p - 1] for p in PERCENTILES}
    return {**found, "max": max(values), "mean": statistics.fmean(values)}


def summary(options: argparse.Namespace, tally: Tally, elapsed: float, cpu: float) -> dict[str, Any]:
    """Return what a run gave, ready to be written as JSON."""
    answered, failed = len(tally.latencies), tally.errors.total()
    loop = {"rate": options.rate} if options.rate else {"clients": options.clients}

    def milliseconds(values: list[float]) -> dict[str, float] | None:
        return {name: round(1000 * v, 3) for name, v in percentiles(values).items()} if values else None

    return {
        "loop": "open" if options.rate else "closed",
        **loop,
        "batch": options.batch,
        "seconds": round(elapsed, 3),
        "requests": answered + failed,
        "answered": answered,
        "errors": dict(sorted(tally.errors.items())),
        "requests_per_second": round(answered / elapsed, 3),
        "reviews_per_second": round(answered * options.batch / elapsed, 3),
        "latency_ms": milliseconds(tally.latencies),
        "sent_late_ms": milliseconds(tally.lags),
        "cpu_ms_per_request": round(1000 * cpu / max(1, answered + failed), 3),
    }


def report(found: dict[str, Any]) -> str:
    """Return a summary for people."""
    lines = [
        f"{found['answered']:,} of {found['requests']:,} requests answered in {found['seconds']:.1f} s, "
        f"{found['batch']} reviews each",
        f"{found['reviews_per_second']:,.1f} reviews/s, {found['requests_per_second']:,.1f} requests/s",
    ]
    for name, title in (("latency_ms", "latency"), ("sent_late_ms", "sent late by")):
        if found[name] and (name == "latency_ms" or found["loop"] == "open"):
            lines.append(f"{title}, ms: " + "  ".join(f"{key} {value:.1f}" for key, value in found[name].items()))
    lines += [f"error: {kind}, {count:,} times" for kind, count in found["errors"].items()]
    return "\n".join([*lines, f"this program: {found['cpu_ms_per_request']:.2f} ms of CPU a request"])


def target_of(options: argparse.Namespace) -> Target:
    """Make the requests, and say where they go."""
    parts = split_url(options.url, ("http", "https"))
    texts = list(read_texts(options.texts)) if options.texts else EXAMPLES
    if not texts:
        raise ServingError(f"{options.texts} has no texts.")
    path = predict_path(parts.path, options.model, None, None)
    requests = make_requests(texts, options.batch, parts.netloc, path, os.environ.get(TOKEN_VARIABLE, "").strip())
    tls = parts.scheme == "https"
    most = options.connections if options.rate else options.clients
    return Target(requests, Pool(parts.hostname, parts.port or (443 if tls else 80), tls, options.timeout, most))


async def warm_up(target: Target, options: argparse.Namespace) -> None:
    """Send the first requests, unmeasured, and check that the answers are answers. Raises ServingError."""
    tally = Tally()
    await closed_loop(target, min(target.pool.most, 4), options.warm_up, None, tally)
    if tally.errors:
        kinds = ", ".join(f"{kind} ({count} of {options.warm_up})" for kind, count in tally.errors.items())
        said = " ".join(tally.first_error.decode("utf-8", "replace").split())[:200]
        raise ServingError(f"The warm-up of {options.url} failed: {kinds}. {said}".strip())
    try:
        outputs = json.loads(tally.last_body)["outputs"]
        rows(outputs, options.batch)
    except (ValueError, KeyError, TypeError, AttributeError):
        raise ServingError(f"{options.url} did not answer as TensorFlow Serving does.") from None


async def measure(options: argparse.Namespace) -> dict[str, Any]:
    """Warm up, run the wanted loop, and return the summary."""
    target, tally = target_of(options), Tally()
    await warm_up(target, options)
    dues = poisson_times(options.rate, options.count, options.duration, options.seed) if options.rate else []
    start, cpu = time.perf_counter(), time.process_time()
    if options.rate:
        await open_loop(target, dues, tally)
    else:
        await closed_loop(target, options.clients, options.count, options.duration, tally)
    found = summary(options, tally, time.perf_counter() - start, time.process_time() - cpu)
    target.pool.close()
    return found


def parse() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(
        description="Load a server that speaks TensorFlow Serving's REST, and say how fast it answered.",
        epilog=f"A bearer token is taken from the environment variable {TOKEN_VARIABLE}.",
    )
    parser.add_argument("--url", default="http://localhost:8501", help="http[s]://HOST:PORT")
    parser.add_argument("--model", default="sentiment")
    parser.add_argument("--texts", help="lines of a .txt, or the `text` of .jsonl; also .gz. Without it, two examples")
    parser.add_argument("--batch", type=positive, default=1, help="texts in a request (1)")
    loop = parser.add_mutually_exclusive_group()
    loop.add_argument("--clients", type=positive, help="closed loop: how many ask at the same time (1)")
    loop.add_argument("--rate", type=above_zero, help="open loop: requests per second, at Poisson times")
    length = parser.add_mutually_exclusive_group()
    length.add_argument("--duration", type=above_zero, help="seconds (10)")
    length.add_argument("--count", type=positive, help="requests, in place of a duration")
    parser.add_argument("--warm-up", type=positive, default=20, help="requests before the clock starts (20)")
    parser.add_argument("--timeout", type=above_zero, default=30.0, help="seconds for a request (30)")
    parser.add_argument("--connections", type=positive, default=256, help="open loop: at most so many (256)")
    parser.add_argument("--seed", type=int, default=0, help="of the Poisson times (0)")
    parser.add_argument("--json", action="store_true", help="one line of JSON in place of a report")
    options = parser.parse_args()
    options.clients = options.clients or 1  # as a default, argparse would let it stand beside --rate
    if options.duration is None and options.count is None:
        options.duration = 10.0
    return options


def main() -> int:
    """Run the command. Returns the exit status: 1 when no request was answered."""
    options = parse()
    try:
        found = asyncio.run(measure(options))
    except ServingError as error:
        print(f"Error: {error}", file=sys.stderr)
        return 1
    print(json.dumps(found) if options.json else report(found))
    return 0 if found["answered"] else 1


if __name__ == "__main__":
    sys.exit(main())
