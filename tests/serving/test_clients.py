"""The client and the load program of export/serving talk to `tfsent serve` as they talk to TensorFlow Serving."""

import json
import os
import subprocess
import sys

import numpy as np
import pytest
from served import HERE, ROOT

import tfsent

SAMPLES = ROOT / "export" / "serving"
SERVER = "starlette uvicorn httptools uvloop prometheus_client anyio h11 idna sniffio"
"""What export/edge/requirements-serve.txt installs."""
TEXTS = ["great superb lovely film", "bad dull awful plot", "", "café \u2028 [SEP]"] * 12


@pytest.fixture(scope="module")
def served(start, mobile):
    return start(mobile, grpc_port=0)


def run(script, *words):
    command = [sys.executable, str(SAMPLES / script), *map(str, words)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize("protocol", ["http", "grpc"])
def test_the_client_is_answered_in_order_over_several_requests(served, mobile, tmp_path, protocol):
    url = served.url.rstrip("/") if protocol == "http" else f"grpc://{served.grpc}"
    path = tmp_path / "texts.jsonl"
    path.write_text("".join(json.dumps({"text": text}) + "\n" for text in TEXTS), encoding="utf-8")
    lines = run("client.py", "--url", url, "--batch-size", 7, "--file", path).splitlines()
    found = [json.loads(line)["probabilities"] for line in lines]
    expected = tfsent.load(mobile / "model.tflite").predict_proba(TEXTS)
    np.testing.assert_allclose(found, expected, atol=1e-5)


@pytest.mark.parametrize("loop", [["--clients", "8"], ["--rate", "200"]])
def test_the_load_program_counts_what_the_server_answered(served, tmp_path, loop):
    path = tmp_path / "texts.txt"
    path.write_text("great film\nbad plot\n", encoding="utf-8")
    before = served.metric("tfsent_texts_total")
    words = ["--url", served.url.rstrip("/"), "--texts", path, "--count", 100, "--warm-up", 1, "--json"]
    found = json.loads(run("load.py", *words, *loop))
    assert (found["requests"], found["answered"]) == (100, 100)
    assert served.metric("tfsent_texts_total") - before == 101  # with one to warm up


def test_the_shell_script_ends_well(served):
    environment = {**os.environ, "URL": served.url.rstrip("/")}
    done = subprocess.run(
        ["bash", str(SAMPLES / "curl.sh")], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stderr + done.stdout


def test_it_runs_where_only_the_packages_of_export_edge_are(start_command, mobile):
    served = start_command([HERE.parent / "edge_environment.py", "serve", mobile, "--port", "0"], env={"ALSO": SERVER})
    assert served.predict("great superb lovely film").json["predictions"][0]["label"] == "positive"
