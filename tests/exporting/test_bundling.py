"""A run → one file: complete, the same bytes at every call, without a path of this machine; and safe to open."""

import gzip
import json
import os
import shutil
import subprocess
import sys
import uuid
import zipfile
from pathlib import Path

import numpy as np
import pytest

import tfsent
from tfsent.api import answers
from tfsent.api.bundling import bundle
from tfsent.data.reviews import load_reviews
from tfsent.errors import ArtifactError, ConfigError, RunError
from tfsent.exporting import sbom
from tfsent.exporting.sample import verification_sample
from tfsent.model.decision import Decision, write_decision
from tfsent.recipe.loader import load_config, to_yaml
from tfsent.serving import places
from tfsent.storage import bundle as opening
from tfsent.storage import bundle_writing, manifest, run_directory

TEXTS = ["great superb lovely good fine film", "awful dull poor bad worse film", ""]


@pytest.fixture(scope="module")
def bundled(exported, tmp_path_factory):
    """A bundle of the exported tiny run. Tests only read it."""
    path = tmp_path_factory.mktemp("bundles") / "tiny.tfsent.zip"
    return path, bundle(exported, path)


@pytest.fixture
def mine(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "run")


def contents_of(path):
    with zipfile.ZipFile(path) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def test_it_holds_what_a_run_holds(exported, bundled):
    path, result = bundled
    found = contents_of(path)
    reports = {"report.html", "README.md"}
    everywhere = {"config.yaml", "data.json", "environment.json", "history.csv", "verify.json", "heldout/test.jsonl.gz"}
    exported_files = {
        str(p.relative_to(exported))
        for folder in ("model", "export/serving/1", "export/mobile")
        for p in (exported / folder).rglob("*")
        if p.is_file()
    }
    assert set(found) == everywhere | reports | exported_files | {"manifest.json", "LICENSES.md", "sbom.cdx.json"}
    assert {"model/decision.json", "model/manifest.json", "export/mobile/golden.jsonl"} <= set(found)
    for name in exported_files:
        assert found[name] == (exported / name).read_bytes()
    assert result.bytes == path.stat().st_size
    assert result.files == len(found) - 1
    assert result.sha256 == manifest.sha256(path)
    assert json.loads(found["manifest.json"])["tfsent"] == tfsent.__version__


def test_reports_and_figures_go_with_it_and_answers_stay(mine, tmp_path):
    for name in ("metrics.json", "report.html", "README.md", "predictions.csv", "analysis.json"):
        (mine / name).write_text(name)
    (mine / "checkpoints").mkdir()
    (mine / "checkpoints/step-1").write_text("")
    bundle(mine, tmp_path / "a.zip")
    found = contents_of(tmp_path / "a.zip")
    assert {"metrics.json", "report.html", "README.md"} <= set(found)
    assert not {"predictions.csv", "analysis.json", "checkpoints/step-1", "heldout/validation.jsonl.gz"} & set(found)


def test_only_the_newest_savedmodel_goes_with_it(mine, tmp_path):
    shutil.copytree(mine / "export/serving/1", mine / "export/serving/12")
    bundle(mine, tmp_path / "a.zip")
    names = [name for name in contents_of(tmp_path / "a.zip") if name.startswith("export/serving/")]
    assert names and all(name.startswith("export/serving/12/") for name in names)


def test_the_reviews_are_those_that_the_export_was_proved_on(exported, bundled):
    folder = opening.opened(bundled[0])
    there = load_reviews(folder / "heldout/test.jsonl.gz")
    proof = json.loads((exported / "verify.json").read_text())
    whole = load_reviews(exported / "heldout/test.jsonl.gz")
    expected = verification_sample(whole, proof["reviews"])
    assert len(there) == proof["reviews"] == 60 < len(whole)
    assert list(there.texts) == list(expected.texts)
    described = json.loads((folder / "data.json").read_text())["splits"]
    assert described["test"]["fingerprint"] == there.fingerprint
    assert described["test"]["reviews"] == 60
    assert described["test"]["classes"] == there.class_counts
    assert described["test"]["origin"] == there.origin == "60 of 100 reviews (official IMDb test split)"
    own = json.loads((exported / "data.json").read_text())["splits"]
    assert described["test"]["drawn_from"] == own["test"]
    assert described["validation"] == own["validation"]
    assert manifest.fault(folder / "model") is None


def test_no_path_of_this_machine_is_in_it(exported, bundled, tiny_encoder, tiny_reviews):
    kept = json.loads((exported / "data.json").read_text())["encoder"]
    assert kept["folder"] == str(tiny_encoder)
    described = json.loads(contents_of(bundled[0])["data.json"])["encoder"]
    assert "folder" not in described and "record" not in described
    assert described["uri"] == f"path:{tiny_encoder.name}"
    for name, content in contents_of(bundled[0]).items():
        for path in (tiny_encoder, tiny_reviews, Path.home(), exported):
            assert str(path).encode() not in content, name


def test_paths_in_words_become_names(mine, tmp_path):
    config = (mine / "config.yaml").read_text()
    words = config.replace("source: imdb", "source: files\n  train:\n  - /home/maria/my reviews/march.csv", 1)
    words = "\n".join(line for line in words.splitlines() if line != "  train: null")
    (mine / "config.yaml").write_text(words)
    (mine / "README.md").write_text("Trained on reviews in /home/maria/my reviews/march.csv.\n")
    bundle(mine, tmp_path / "a.zip")
    found = contents_of(tmp_path / "a.zip")
    assert b"  - march.csv\n" in found["config.yaml"]
    assert found["README.md"] == b"Trained on reviews in march.csv.\n"
    assert not any(b"maria" in content for content in found.values())


def test_a_copy_elsewhere_gives_the_same_bytes(exported, bundled, tmp_path):
    copy = shutil.copytree(exported, tmp_path / "elsewhere" / "of another name")
    for path in copy.rglob("*"):
        os.utime(path, (5, 5))
    code = "import sys, tfsent.api.bundling as b; b.bundle(sys.argv[1], sys.argv[2])"
    env = {**os.environ, "PYTHONHASHSEED": "7", "TZ": "Asia/Tokyo"}
    subprocess.run([sys.executable, "-c", code, copy, tmp_path / "again.zip"], check=True, env=env, timeout=300)
    assert (tmp_path / "again.zip").read_bytes() == bundled[0].read_bytes()


def test_every_command_takes_it_for_the_run(exported, bundled):
    path = bundled[0]
    expected = tfsent.load(exported)
    found = tfsent.load(path)
    np.testing.assert_array_equal(found.predict_proba(TEXTS), expected.predict_proba(TEXTS))
    assert found.label_names == expected.label_names
    metrics = tfsent.evaluate(path)
    opened = opening.opened(path)
    assert metrics.reviews == 60
    assert metrics.fingerprint == load_reviews(opened / "heldout/test.jsonl.gz").fingerprint
    assert metrics.accuracy == json.loads((exported / "verify.json").read_text())["trained_model_accuracy"]
    assert len(answers._reviews_of(path, 8)) == 8, "which bench asks about"
    assert places.find(path).kind == "litert"
    assert tfsent.verify(path).passed
    assert run_directory.run_of(path) == opened
    assert not (opened / "metrics.json").exists(), "a bundle is only read"


def test_tables_are_read_as_the_run_reads_them(mine, tmp_path):
    config = (mine / "config.yaml").read_text().replace("  text: text\n", "  text: body\n", 1)
    (mine / "config.yaml").write_text(config)
    bundle(mine, tmp_path / "a.zip")
    (tmp_path / "new.csv").write_text("body,stars\ngreat superb lovely good,positive\nawful dull poor bad,negative\n")
    result = tfsent.predict_file(tmp_path / "a.zip", tmp_path / "new.csv", tmp_path / "out.csv")
    assert result.rows == 2
    assert "positive" in (tmp_path / "out.csv").read_text().splitlines()[1]


def test_a_bundle_has_no_validation_reviews(bundled):
    with pytest.raises(
        ConfigError, match="comes without its validation reviews. Expected --split test, or --data FILE"
    ):
        tfsent.evaluate(bundled[0], "validation")


def test_what_earlier_versions_of_this_line_made_is_read(mine, tmp_path, exported):
    """Their models have no decision.json, no manifest.json and no piece_counts.npy."""
    for folder in ("model", "export/mobile", "export/serving/1/assets.extra"):
        (mine / folder / "decision.json").unlink()
    listed = json.loads((mine / "export/mobile/manifest.json").read_text())
    del listed["files"]["decision.json"]
    (mine / "export/mobile/manifest.json").write_text(json.dumps(listed))
    for name in ("manifest.json", "piece_counts.npy"):
        (mine / "model" / name).unlink()
    bundle(mine, tmp_path / "old.zip")
    found = tfsent.load(tmp_path / "old.zip")
    np.testing.assert_array_equal(found.predict_proba(TEXTS), tfsent.load(exported).predict_proba(TEXTS))


def test_the_bill_of_materials_names_packages_encoder_and_reviews(exported, bundled, monkeypatch):
    whole = json.loads(contents_of(bundled[0])["sbom.cdx.json"])
    assert (whole["bomFormat"], whole["specVersion"]) == ("CycloneDX", "1.6")
    assert "timestamp" not in json.dumps(whole)
    uuid.UUID(whole["serialNumber"].removeprefix("urn:uuid:"))
    parts = {part["bom-ref"]: part for part in whole["components"]}
    assert parts["pypi/tfsent"]["purl"] == f"pkg:pypi/tfsent@{tfsent.__version__}"
    assert parts["pypi/keras"]["purl"].startswith("pkg:pypi/keras@3.")
    assert "pypi/jax" not in parts, "only an extra requires it"
    assert parts["encoder"]["type"] == whole["metadata"]["component"]["type"] == "machine-learning-model"
    weights = next(one for one in parts["encoder"]["components"] if one["name"] == "model.safetensors")
    kept = json.loads((exported / "data.json").read_text())
    assert weights["hashes"] == [{"alg": "SHA-256", "content": kept["encoder"]["files"]["model.safetensors"]}]
    assert parts["data/train"]["type"] == "data"
    assert parts["data/train"]["hashes"][0]["content"] == kept["splits"]["train"]["fingerprint"]
    model = {one["name"]: one["hashes"][0]["content"] for one in whole["metadata"]["component"]["components"]}
    assert model["model.keras"] == manifest.sha256(exported / "model/model.keras")
    data = json.loads(contents_of(bundled[0])["data.json"])
    again = json.loads(sbom.bill_of_materials("path:other", "imdb", data, model))
    assert again["serialNumber"] != whole["serialNumber"]


def test_the_bill_of_materials_obeys_its_schema(bundled):
    validation = pytest.importorskip("cyclonedx.validation.json")
    from cyclonedx.exception import MissingOptionalDependencyException
    from cyclonedx.schema import SchemaVersion

    try:
        fault = validation.JsonStrictValidator(SchemaVersion.V1_6).validate_str(
            contents_of(bundled[0])["sbom.cdx.json"].decode()
        )
    except MissingOptionalDependencyException as error:
        pytest.skip(str(error))
    assert fault is None


@pytest.mark.parametrize(
    ("uri", "source", "encoder", "data", "unknown"),
    [
        ("pypi:minilm-l6", "imdb-wheel", "Apache-2.0", "the Large Movie Review", ()),
        ("hf:google-bert/bert-base-uncased@main", "files", "Apache-2.0", sbom.UNKNOWN, ("data",)),
        ("path:mine", "memory", sbom.UNKNOWN, sbom.UNKNOWN, ("encoder", "data")),
        ("hf:someone/else", "tfds:glue/sst2", sbom.UNKNOWN, "unknown; the catalogue", ("encoder", "data")),
    ],
)  # fmt: skip
def test_licences_are_stated_or_unknown(uri, source, encoder, data, unknown):
    text = sbom.licences(uri, source)
    assert f"- Encoder, {uri}: {encoder}\n" in text
    assert f"- Reviews, {source}: {data}" in text
    assert "a file LICENSES.md in the run takes the place of this one" in text
    assert sbom.unknown_licences(uri, source) == unknown
    assert max(map(len, text.splitlines())) <= 250
    assert "Teacher" not in text
    assert f"- Teacher, and the texts that it labelled: {sbom.UNKNOWN}\n" in sbom.licences(uri, source, taught=True)
    assert sbom.unknown_licences(uri, source, taught=True) == (*unknown, "teacher")


def test_a_distilled_run_names_its_teacher_without_a_folder(mine, tmp_path):
    teacher, texts = "/home/somebody/models/teacher.tflite", "/home/somebody/texts.jsonl"
    config = load_config(mine / "config.yaml", [f"distil.teacher=[{teacher}]", f"distil.unlabelled=[{texts}]"])
    (mine / "config.yaml").write_text(to_yaml(config))
    origin = json.loads((mine / "data.json").read_text())
    taught = {"teachers": [{"path": teacher, "kind": "model", "sha256": "0" * 64}]}
    (mine / "data.json").write_text(json.dumps({**origin, "distil": taught}))
    result = bundle(mine, tmp_path / "taught.tfsent.zip")
    assert "teacher" in result.unknown_licences
    found = contents_of(Path(result.path))
    assert all(b"/home/somebody" not in content for content in found.values())
    parts = json.loads(found["sbom.cdx.json"])["components"]
    assert [part["name"] for part in parts if part["bom-ref"] == "teacher/0"] == ["teacher.tflite"]
    assert b"- Teacher, and the texts that it labelled: unknown" in found["LICENSES.md"]


def test_a_user_states_licences_in_the_run(mine, bundled, tmp_path):
    assert bundled[1].unknown_licences == ("encoder",)
    (mine / "LICENSES.md").write_text("All of it: CC-BY-4.0\n")
    result = bundle(mine, tmp_path / "a.zip")
    assert contents_of(tmp_path / "a.zip")["LICENSES.md"] == b"All of it: CC-BY-4.0\n"
    assert result.unknown_licences == ()


def failed(run):
    proof = json.loads((run / "verify.json").read_text())
    (run / "verify.json").write_text(json.dumps({**proof, "passed": False, "published": []}))


def decided(run):
    write_decision(run / "model", Decision(threshold=0.25, aim="f1"))
    (run / "model/manifest.json").unlink()
    manifest.write_manifest(run / "model")


def damaged(run, name):
    (run / name).write_bytes(b"other")


def without_export(run):
    shutil.rmtree(run / "export")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda r: (r / "verify.json").unlink(), "was not exported, and a bundle holds what was proved. First: "),
        (failed, "The last export of .* did not pass: verify.json says what strays .* First: tfsent export"),
        (lambda r: (r / "verify.json").write_text("{"), "verify.json cannot be read: "),
        (lambda r: (r / "verify.json").write_text("[]"), "verify.json cannot be read: expected a JSON object"),
        (without_export, "has no exported files any more. First: tfsent export"),
        (decided, "serving/1 was exported before the model got its present decision.json. First: tfsent"),
        (lambda r: damaged(r, "model/vocab.txt"), "model is damaged: vocab.txt is not what was written. Train or"),
        (lambda r: damaged(r, "export/mobile/model.tflite"), "mobile is damaged: model.tflite is not what was"),
        (lambda r: (r / "model/model.keras").unlink(), "holds no model"),
        (lambda r: (r / "data.json").unlink(), "data.json cannot be read: .*No such file"),
        (lambda r: (r / "export/mobile/my notes.txt").write_text(""), "the bundle has a file named .export/mobile/my"),
    ],
)  # fmt: skip
def test_what_was_not_proved_is_not_bundled(mine, tmp_path, spoil, message):
    spoil(mine)
    with pytest.raises(RunError, match=message):
        bundle(mine, tmp_path / "a.zip")
    assert [path.name for path in tmp_path.iterdir()] == ["run"]


def test_a_target_is_replaced_only_on_request(exported, tmp_path):
    target = tmp_path / "a.tfsent.zip"
    target.write_text("mine")
    with pytest.raises(RunError, match="a.tfsent.zip exists already. Pass --overwrite to replace it."):
        bundle(exported, target)
    assert target.read_text() == "mine"
    bundle(exported, target, overwrite=True)
    assert zipfile.is_zipfile(target)
    with pytest.raises(ConfigError, match="Expected a name that ends with .tfsent.zip. Received: .*a.tar"):
        bundle(exported, tmp_path / "a.tar")
    (tmp_path / "folder.zip").mkdir()
    with pytest.raises(RunError, match="folder.zip is a folder. Name a file, such as .*folder.zip/model.tfsent.zip"):
        bundle(exported, tmp_path / "folder.zip", overwrite=True)
    assert (tmp_path / "folder.zip").is_dir()


LAMBDA = """
import sys, keras
ran = sys.argv[2]
inputs = {n: keras.Input((None,), dtype=d, name=n) for n, d in
          (("token_ids", "int32"), ("segment_ids", "int32"), ("padding_mask", "bool"))}
class Evil(keras.layers.Layer):
    def call(self, x):
        return x
layer = Evil() if sys.argv[3] == "class" else keras.layers.Lambda(
    lambda x: (__import__("pathlib").Path(ran).write_text("ran"), x)[1], output_shape=(None,))
keras.Model(inputs, layer(keras.ops.cast(inputs["token_ids"], "float32"))).save(sys.argv[1])
"""


@pytest.mark.parametrize("kind", ["lambda", "class"])
def test_code_in_a_strangers_model_does_not_run(exported, tmp_path, kind):
    ran, model = tmp_path / "ran", tmp_path / "model.keras"
    subprocess.run([sys.executable, "-c", LAMBDA, model, ran, kind], check=True, timeout=300)
    ran.unlink(missing_ok=True)  # by the making
    with zipfile.ZipFile(model) as archive:
        assert ("Lambda" if kind == "lambda" else "Evil") in archive.read("config.json").decode()
    rebundled(exported, tmp_path, **{"model/model.keras": model.read_bytes()})
    with pytest.raises(ArtifactError, match="model.keras cannot be read"):
        tfsent.load(tmp_path / "theirs.zip")
    assert not ran.exists()


def rebundled(exported, tmp_path, **changes):
    """A bundle that agrees with itself, of the tiny run with other files in it."""
    bundle(exported, tmp_path / "ours.zip")
    found = contents_of(tmp_path / "ours.zip")
    del found["manifest.json"]
    bundle_writing.write(tmp_path / "theirs.zip", {**found, **changes}, "0.2.0")


class Evil:
    def __reduce__(self):
        return Path.touch, (Path(os.environ["RAN"]),)


def test_a_pickle_in_a_bundle_is_never_read(exported, tmp_path, monkeypatch):
    from tfsent.exporting.phone.pruning import read_counts

    monkeypatch.setenv("RAN", str(tmp_path / "ran"))
    np.save(tmp_path / "evil.npy", np.array([Evil()], dtype=object), allow_pickle=True)
    rebundled(exported, tmp_path, **{"model/piece_counts.npy": (tmp_path / "evil.npy").read_bytes()})
    tfsent.load(tmp_path / "theirs.zip").predict(TEXTS)
    with pytest.raises((ValueError, ArtifactError, RunError)):
        read_counts(opening.opened(tmp_path / "theirs.zip") / "model")
    assert not (tmp_path / "ran").exists()


def test_held_out_reviews_that_unpack_without_end_are_refused(exported, tmp_path):
    rebundled(exported, tmp_path, **{"heldout/test.jsonl.gz": gzip.compress(b'{"text": "' + b" " * 30_000_000)})
    with pytest.raises(ArtifactError, match="it has a packed test.jsonl.gz"):
        tfsent.evaluate(tmp_path / "theirs.zip")


def test_what_is_no_bundle_is_refused_by_every_opener(exported, tmp_path):
    shutil.copy(exported / "model/model.keras", tmp_path / "model.zip")
    for use in (tfsent.load, tfsent.evaluate, tfsent.bench, places.find):
        with pytest.raises(
            ArtifactError, match=r"cannot be opened as a bundle: it begins with '[\w.]+', and a bundle of"
        ):
            use(tmp_path / "model.zip")
