"""A new version takes the place of the old one: under load, damaged, again and again."""

import json
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from served import until

import tfsent
from tfsent.storage.atomic import publish
from tfsent.storage.manifest import sha256

TEXT = "good great film"


@pytest.fixture
def model(mobile, tmp_path):
    return shutil.copytree(mobile, tmp_path / "export" / "mobile")


def sign(folder):
    """Write the hashes of changed files into manifest.json."""
    path = folder / "manifest.json"
    manifest = json.loads(path.read_text())
    for name in manifest["files"]:
        manifest["files"][name]["sha256"] = sha256(folder / name)
    path.write_text(json.dumps(manifest))


def changed(model, label):
    """Another export beside the one that is served, ready to be published: its second class has another name."""
    staged = model.parent / "staged"
    shutil.copytree(model, staged)
    old = (staged / "labels.txt").read_text().split()[1]
    (staged / "labels.txt").write_text(f"negative\n{label}\n")
    golden = staged / "golden.jsonl"
    golden.write_text(golden.read_text().replace(f'"label": "{old}"', f'"label": "{label}"'))
    sign(staged)
    return staged


def until_more(found):
    seen = len(found)
    until(lambda: len(found) > seen + 20, "more answers")


def retired(served):
    rows = served.ask("/v1/models/sentiment").json["model_version_status"]
    states = [f"{row['version']} {row['state']}" for row in rows]
    return states if sum("AVAILABLE" in state for state in states) == 1 else None


def test_a_new_export_takes_over_and_no_request_is_lost_or_mixed(start, model):
    served = start(model, slow=0.005, watch_seconds=0.1)
    found, stop = [], threading.Event()

    def client():
        while not stop.is_set():
            reply = served.ask("/v1/models/sentiment:classify", {"examples": [{"text": TEXT}] * 3})
            found.append((reply.status, tuple(tuple(name for name, _ in row) for row in reply.json["results"])))

    with ThreadPoolExecutor(8) as pool:
        clients = [pool.submit(client) for _ in range(8)]
        try:
            for version, label in ((2, "better"), (3, "best")):
                until_more(found)
                publish(changed(model, label), model)
                until(lambda v=version: served.metric("tfsent_model_version") == v, "the new version")
            until_more(found)
        finally:
            stop.set()  # or the clients would never end
        for one in clients:
            one.result()
    rows = {(("negative", label),) * 3 for label in ("positive", "better", "best")}
    assert {status for status, _ in found} == {200}
    assert {names for _, names in found} == rows  # all three, and none of two versions
    assert found[-1][1] == (("negative", "best"),) * 3
    assert until(lambda: retired(served), "the end of the old ones") == ["3 AVAILABLE", "2 END", "1 END"]
    assert served.metric("tfsent_reloads_total", result="loaded") == 2
    assert served.ask("/v1/models/sentiment/versions/1:predict", {"instances": [TEXT]}).status == 404
    assert served.end()[0] == 0


def truncated(folder):
    path = folder / "model.tflite"
    path.write_bytes(path.read_bytes()[:1000])
    sign(folder)


def no_labels(folder):
    (folder / "labels.txt").unlink()


def other_labels(folder):
    (folder / "labels.txt").write_text("a\nb\nc\n")
    sign(folder)


def half_copied(folder):
    path = folder / "model.tflite"
    path.write_bytes(path.read_bytes()[:-1])
    (folder / "manifest.json").write_text((folder / "manifest.json").read_text() + "\n")


def other_vocabulary(folder):
    path = folder / "vocab.txt"
    lines = path.read_text().split("\n")
    path.write_text("\n".join([*lines[:5], *reversed(lines[5:-1]), ""]))
    sign(folder)


def other_answers(folder):
    path = folder / "golden.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    for line in lines:
        line["probabilities"] = line["probabilities"][::-1]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))
    sign(folder)


def no_manifest_any_more(folder):
    (folder / "manifest.json").write_text("{")


DAMAGES = {
    truncated: "cannot be opened as a .tflite file of tfsent",
    no_labels: "No such file or directory",
    other_labels: "it gives 2 probabilities, and labels.txt has 3 classes",
    half_copied: "model.tflite is not what manifest.json says. Copy the whole folder of the export.",
    other_vocabulary: "a text of golden.jsonl has other token ids",
    other_answers: "a text of golden.jsonl has probabilities",
    no_manifest_any_more: "manifest.json is damaged",
}


def test_a_damaged_version_is_refused_and_the_old_one_goes_on(start, model):
    served = start(model, watch_seconds=0.05)
    before = served.predict(TEXT).json
    good = shutil.copytree(model, model.parent / "good")
    for number, (damage, message) in enumerate(DAMAGES.items(), 1):
        staged = shutil.copytree(good, model.parent / "staged")
        damage(staged)
        manifest = staged / "manifest.json"
        manifest.write_text(manifest.read_text() + " " * number)
        publish(staged, model)
        until(lambda n=number: served.metric("tfsent_reloads_total", result="refused") == n, f"a refusal of {damage}")
        newest = served.ask("/v1/models/sentiment").json["model_version_status"][0]
        assert (newest["version"], newest["state"]) == (str(number + 1), "END")
        assert newest["status"]["error_code"] == "UNKNOWN" and message in newest["status"]["error_message"], damage
        line = served.lines("reload refused")[-1]
        assert (line["level"], line["version"]) == ("error", 1) and message in line["error"]
        assert served.predict(TEXT).json == before
    publish(good, model)  # as it was: the version that is served
    publish(changed(model, "better"), model)
    until(lambda: served.predict(TEXT).json["predictions"][0]["label"] == "better", "a version that is whole")
    assert served.metric("tfsent_model_version") == len(DAMAGES) + 2
    assert served.end()[0] == 0


def test_a_folder_that_is_gone_for_a_moment_changes_nothing(start, model):
    served = start(model, watch_seconds=0.05)
    model.rename(model.with_name("away"))
    assert served.predict(TEXT).status == 200
    model.with_name("away").rename(model)
    publish(changed(model, "better"), model)
    until(lambda: served.predict(TEXT).json["predictions"][0]["label"] == "better", "the new version")
    assert served.metric("tfsent_reloads_total", result="refused") == 0


def test_a_model_that_is_damaged_at_the_start_ends_the_command(model):
    from command_line import call

    half_copied(model)
    assert call("serve", model, "--port", 0, code=1) == (
        f"Error: {model / 'model.tflite'} is not what manifest.json says. Copy the whole folder of the export.\n"
    )


# -- a SavedModel -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def versions(exported, tmp_path_factory):
    return shutil.copytree(exported / "export" / "serving", tmp_path_factory.mktemp("versions") / "serving")


@pytest.fixture(scope="module")
def graph(start, versions):
    return start(versions, watch_seconds=0.1, batch=8)


def test_a_saved_model_answers_as_tensorflow_does(graph, versions):
    texts = [TEXT, "awful bad plot", "", "a film. " * 50, "\ud800 good"] * 5
    expected = tfsent.load(versions).predict_proba(texts)
    with ThreadPoolExecutor(16) as pool:
        found = list(pool.map(lambda text: graph.predict(text).json["predictions"][0], texts))
    np.testing.assert_allclose([row["probabilities"] for row in found], expected, atol=1e-5)
    metadata = graph.ask("/v1/models/sentiment/metadata").json["metadata"]["signature_def"]["signature_def"]
    assert list(metadata["serving_default"]["outputs"]) == list(found[0])
    if "logits" in found[0]:
        logits = np.array([row["logits"] for row in found])
        exponents = np.exp(logits - logits.max(axis=1, keepdims=True))
        np.testing.assert_allclose(exponents / exponents.sum(axis=1, keepdims=True), expected, atol=1e-5)
    assert graph.ask("/page/answer", {"instances": ["good film"]}).json["tokens"] == 2


def test_the_highest_version_that_is_whole_is_served(graph, versions):
    (versions / "2").mkdir()
    shutil.copytree(versions / "1", versions / "half")
    (versions / "half" / "saved_model.pb").write_bytes(b"not a graph")
    (versions / "half").rename(versions / "3")
    until(lambda: graph.metric("tfsent_reloads_total", result="refused") == 1, "version 3 being refused")
    newest = graph.ask("/v1/models/sentiment").json["model_version_status"][0]
    assert (newest["version"], newest["state"]) == ("3", "END")
    assert graph.predict(TEXT).status == 200
    shutil.copytree(versions / "1", versions / "whole")
    (versions / "whole").rename(versions / "10")
    until(lambda: graph.metric("tfsent_model_version") == 10, "version 10")
    assert graph.ask("/v1/models/sentiment/versions/10:predict", {"instances": [TEXT]}).status == 200
    assert graph.end()[0] == 0
