"""`verify` passes an honest run, and finds each fault that was planted: by its hash, and without the hash."""

import json
import shutil
from pathlib import Path

import keras
import numpy as np
import pytest
from click.testing import CliRunner

import tfsent
from tfsent.cli.main import main
from tfsent.errors import BudgetError, ExportError
from tfsent.exporting import publish, record, verification
from tfsent.exporting.faults import companion_faults
from tfsent.exporting.phone.convert import convert
from tfsent.exporting.server.savedmodel import write_savedmodel
from tfsent.inference.keras_run import KerasPredictor
from tfsent.model.decision import Decision, write_decision
from tfsent.recipe.loader import load_config
from tfsent.storage.manifest import write_manifest

SERVING, MOBILE, MODEL = "export/serving/1", "export/mobile", "model"


@pytest.fixture
def run(exported, tmp_path):
    return shutil.copytree(exported, tmp_path / "run")


@pytest.fixture
def quick(monkeypatch):
    """Do not start the process of a SavedModel's proof, for faults that are elsewhere."""
    monkeypatch.setitem(verification._PROOFS, "serving", lambda *_: None)


def hash_anew(run):
    """Write the records again, as if the fault had been there when the files were published."""
    config = load_config(run / "config.yaml").export
    for target, folder in verification.exported_folders(run):
        old = json.loads((folder / record.PLACES[target]).read_text())
        facts = {k: v for k, v in old.items() if k not in ("tfsent", "format", "model", "export", "files", "digest")}
        record.write_record(folder, target, run / "model", config, **facts)
    for folder in (run / "model", run / "heldout"):
        (folder / "manifest.json").unlink()
        write_manifest(folder)


def faults(run):
    return "\n".join(verification.verify(run).faults)


def test_an_honest_run_passes(run):
    found = verification.verify(run)
    assert found.faults == ()
    assert found.passed
    assert (found.reviews, found.golden) == (60, 81)
    assert [one.artifact for one in found.files] == ["savedmodel", "float32", "mediapipe"]
    assert {"has its variables", "operators and lengths", "golden texts"} <= {check.name for check in found.checks}
    assert {check.artifact for check in found.checks} >= {"model", "heldout", SERVING, f"{MOBILE}/model.tflite"}
    assert json.loads(json.dumps(found.to_dict()))["passed"]


def test_a_run_of_an_earlier_version_is_told_to_export_again(run, quick):
    (run / "model" / "manifest.json").unlink()
    (run / "heldout" / "manifest.json").unlink()
    (run / "model" / "decision.json").unlink()
    (run / MOBILE / "manifest.json").unlink()
    assert f"{MOBILE}, hashes: manifest.json is missing. Files of an earlier tfsent have none: export again" in faults(
        run
    )


def test_a_manifest_of_an_earlier_version_is_told_apart_from_a_damaged_one(run, quick):
    place = run / MOBILE / "manifest.json"
    old = {
        key: value for key, value in json.loads(place.read_text()).items() if key not in ("model", "export", "digest")
    }
    place.write_text(json.dumps(old, indent=2))
    assert f"{MOBILE}, hashes: manifest.json is of an earlier tfsent, and does not say which model" in faults(run)


@pytest.mark.parametrize("beside", [MOBILE, f"{SERVING}/assets.extra"])
def test_a_model_of_an_earlier_version_says_the_same_in_other_words(exported, tmp_path, beside):
    """Its `text.json` has fewer keys, and it has no `decision.json`: it can be exported nevertheless."""
    model = shutil.copytree(exported / MODEL, tmp_path / "model")
    (model / "decision.json").unlink()
    spec = json.loads((model / "text.json").read_text())
    kept = ("lowercase", "max_tokens", "truncation", "head_fraction", "window_overlap")
    (model / "text.json").write_text(json.dumps({key: spec[key] for key in kept}))
    assert companion_faults(model, exported / beside, whole_vocabulary=True) == []


def test_a_model_that_changes_while_it_is_exported_is_not_published(exported, tmp_path, monkeypatch):
    run = shutil.copytree(exported, tmp_path / "run")

    def decide_meanwhile(predictor, folder, *_):
        shutil.copytree(run / MOBILE, folder)
        write_decision(run / MODEL, Decision(threshold=0.7, aim="f1"))
        return []

    monkeypatch.setitem(publish._MAKERS, "mobile", decide_meanwhile)
    monkeypatch.setattr(publish, "require_complete", lambda *_: None)
    before = (run / MOBILE / "manifest.json").read_bytes()
    with pytest.raises(ExportError, match="Nothing was published: the model changed meanwhile. Again: tfsent export"):
        publish.export(run, load_config(run / "config.yaml").export, ["mobile"])
    assert (run / MOBILE / "manifest.json").read_bytes() == before


def test_classes_in_another_order_than_the_reviews_are_found_though_all_files_agree(run):
    for folder in (MODEL, MOBILE, f"{SERVING}/assets.extra"):
        (run / folder / "labels.txt").write_text("positive\nnegative\n")
    hash_anew(run)
    message = "the reviews have the classes negative, positive, and the model positive, negative"
    assert f"heldout, reviews and classes: {message}" in faults(run)
    assert f"{SERVING}, answers: not asked, because of a fault above" in faults(run)


@pytest.mark.parametrize(("split", "other"), [("test", "validation"), ("validation", "test")])
def test_other_reviews_are_found(run, quick, split, other):
    shutil.copy(run / "heldout" / f"{other}.jsonl.gz", run / "heldout" / f"{split}.jsonl.gz")
    hash_anew(run)
    assert f"{split}.jsonl.gz has other reviews than data.json says" in faults(run)


RECORDS = {
    "export": (
        {"export": {"a key of tomorrow": 1}},
        "manifest.json has budgets that this tfsent does not know: 1 validation error",
    ),
    "no files": ({"files": None}, "manifest.json lacks files"),
    "no kind": ({"quantization": None}, "manifest.json lacks quantization"),
    "files of another shape": ({"files": ["model.tflite"]}, "TypeError: "),
    "model of another shape": ({"model": "all of it"}, "AttributeError: "),
}


@pytest.mark.parametrize(("change", "message"), RECORDS.values(), ids=RECORDS)
def test_a_record_that_a_stranger_wrote_is_a_fault_and_no_crash(run, quick, change, message):
    place = run / MOBILE / "manifest.json"
    old = {k: v for k, v in json.loads(place.read_text()).items() if k != "digest"} | change
    old = {key: value for key, value in old.items() if value is not None}
    place.write_text(record._spelt({**old, "digest": record._digest(old)}))
    assert message in faults(run)


def test_nothing_exported_is_nothing_to_ship(tiny_run):
    with pytest.raises(
        ExportError, match=r"Nothing is exported from .*, so there is nothing to ship. Next: tfsent exp"
    ):
        verification.verify(tiny_run)


def other_weights(run):
    """Return the run's model with other weights."""
    predictor = KerasPredictor(run)
    rng = np.random.default_rng(0)
    predictor.model.set_weights(
        [w + rng.normal(0, 0.3, w.shape).astype(w.dtype) for w in predictor.model.get_weights()]
    )
    return predictor


def phone_file(run, predictor):
    length = predictor.tokenizer.spec.max_tokens
    scratch = run.parent / "scratch"
    scratch.mkdir()
    convert(predictor, scratch, ["float32"], {"serving_default": length})
    shutil.copy(scratch / "float32.tflite", run / MOBILE / "model.tflite")


def another_phone_file(run):
    phone_file(run, other_weights(run))


def a_constant_phone_file(run):
    predictor = KerasPredictor(run)
    last = predictor.model.get_layer("logits")
    last.kernel.assign(np.zeros(last.kernel.shape))
    phone_file(run, predictor)


def a_phone_file_of_nan(run):
    predictor = KerasPredictor(run)
    last = predictor.model.get_layer("logits")
    last.kernel.assign(np.full(last.kernel.shape, np.nan))
    phone_file(run, predictor)


def an_empty_phone_file(run):
    (run / MOBILE / "model.tflite").write_bytes(b"")


def labels_swapped(run):
    (run / MOBILE / "labels.txt").write_text("positive\nnegative\n")


def another_vocabulary(run):
    path = run / MOBILE / "vocab.txt"
    lines = path.read_text(encoding="utf-8").split("\n")
    lines[8], lines[9] = lines[9], lines[8]
    path.write_text("\n".join(lines), encoding="utf-8")


def shorter_truncation(run):
    path = run / MOBILE / "text.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "max_tokens": 16}))


def another_truncation(run):
    path = run / MOBILE / "text.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "truncation": "tail", "head_tokens": 0}))


def another_threshold(run):
    write_decision(run / MOBILE, Decision(threshold=0.9, aim="f1"))


def other_golden_labels(run):
    path = run / MOBILE / "golden.jsonl"
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    lines[3]["label"] = {"negative": "positive", "positive": "negative"}[lines[3]["label"]]
    path.write_text("".join(json.dumps(line) + "\n" for line in lines))


PHONE = {
    another_phone_file: "labels flip|a probability differs by",
    a_constant_phone_file: "a probability differs by",
    a_phone_file_of_nan: "not a number",
    an_empty_phone_file: "the file is empty",
    labels_swapped: "labels.txt says positive, negative, and the run's negative, positive",
    another_vocabulary: "vocab.txt is not the run's from line 9 on",
    shorter_truncation: "text.json says",
    another_truncation: "text.json says",
    another_threshold: "decision.json says Decision",
    other_golden_labels: "1 of 81 texts have other labels than follow from their probabilities",
}


@pytest.mark.parametrize(("plant", "message"), PHONE.items(), ids=[plant.__name__ for plant in PHONE])
def test_a_fault_of_the_phone_files_is_found(run, quick, plant, message):
    plant(run)
    assert f"{MOBILE}, hashes: " in faults(run)
    hash_anew(run)
    found = faults(run)
    assert "hashes" not in found
    assert any(part in found for part in message.split("|")), found


def another_savedmodel(run):
    shutil.rmtree(run / SERVING)
    write_savedmodel(other_weights(run), run / SERVING)


def served_labels_swapped(run):
    predictor = KerasPredictor(run)
    predictor.label_names = predictor.label_names[::-1]
    shutil.rmtree(run / SERVING)
    write_savedmodel(predictor, run / SERVING)


def another_threshold_in_the_graph(run):
    predictor = KerasPredictor(run)
    predictor.decision = Decision(threshold=0.999999, aim="f1")
    shutil.rmtree(run / SERVING)
    write_savedmodel(predictor, run / SERVING)
    write_decision(run / SERVING / "assets.extra", Decision())


def without_variables(run):
    shutil.rmtree(run / SERVING / "variables")


SERVED = {
    another_savedmodel: "a probability differs by",
    served_labels_swapped: "info names the classes",
    another_threshold_in_the_graph: "texts have another label than the run's decision gives",
    without_variables: "has its variables: there is no variables/variables.index",
}


@pytest.mark.parametrize(("plant", "message"), SERVED.items(), ids=[plant.__name__ for plant in SERVED])
def test_a_fault_of_the_savedmodel_is_found(run, plant, message, monkeypatch):
    monkeypatch.setitem(verification._PROOFS, "mobile", lambda *_: None)
    kept = (run / SERVING / record.PLACES["serving"]).read_bytes()
    plant(run)
    (run / SERVING / record.PLACES["serving"]).write_bytes(kept)
    assert f"{SERVING}, hashes: " in faults(run)
    hash_anew(run)
    found = faults(run)
    assert "hashes" not in found
    assert message in found


def test_an_old_savedmodel_beside_a_new_phone_file_is_found(run, quick):
    tfsent.decide(run, threshold="f1")
    tfsent.export(run, ["mobile"])
    found = faults(run)
    assert f"{SERVING}, is of this model: it was made from another decision.json" in found
    assert f"{MOBILE}," not in found


def test_a_model_that_was_trained_again_makes_all_exports_old(run, quick):
    model = keras.saving.load_model(run / MODEL / "model.keras", compile=False)
    model.set_weights([weight * 1.01 for weight in model.get_weights()])
    model.save(run / MODEL / "model.keras")
    (run / MODEL / "manifest.json").unlink()
    write_manifest(run / MODEL)
    found = faults(run)
    for folder in (SERVING, MOBILE):
        assert f"{folder}, is of this model: it was made from another model.keras. Next: tfsent export" in found


FILES = [
    *(f"{MODEL}/{n}" for n in ("model.keras", "vocab.txt", "text.json", "labels.txt", "decision.json")),
    *(f"{MODEL}/{n}" for n in ("piece_counts.npy", "manifest.json")),
    *("heldout/test.jsonl.gz", "heldout/validation.jsonl.gz", "heldout/manifest.json"),
    *(f"{MOBILE}/{n}" for n in ("model.tflite", "model-mediapipe.tflite", "vocab.txt", "text.json", "labels.txt")),
    *(f"{MOBILE}/{n}" for n in ("decision.json", "golden.jsonl", "manifest.json")),
    *(f"{SERVING}/{n}" for n in ("saved_model.pb", "variables/variables.index")),
    *(f"{SERVING}/variables/variables.data-00000-of-00001", f"{SERVING}/assets.extra/tf_serving_warmup_requests"),
    *(
        f"{SERVING}/assets.extra/{n}"
        for n in ("labels.txt", "vocab.txt", "text.json", "decision.json", "manifest.json")
    ),
]


def test_the_list_has_every_file(exported):
    folders = (exported / place for place in (MODEL, "heldout", MOBILE, SERVING))
    there = {path.relative_to(exported).as_posix() for f in folders for path in f.rglob("*") if path.is_file()}
    assert there == set(FILES)


@pytest.mark.parametrize("name", FILES)
def test_one_flipped_bit_in_any_file_is_found(run, name, monkeypatch):
    for target in ("serving", "mobile"):
        monkeypatch.setitem(verification._PROOFS, target, lambda *_: None)
    raw = bytearray((run / name).read_bytes())
    raw[len(raw) // 2] ^= 1
    (run / name).write_bytes(raw)
    assert any(f.startswith((str(Path(name).parts[0]), SERVING, MOBILE)) for f in verification.verify(run).faults)


def test_the_command_prints_the_row_that_failed(run, quick):
    good = CliRunner().invoke(main, ["verify", str(run)])
    assert good.exit_code == 0, good.output
    assert "All checks passed: it may ship." in good.output
    labels_swapped(run)
    with pytest.raises(BudgetError, match="may not ship"):
        tfsent.verify(run)
    bad = CliRunner().invoke(main, ["verify", str(run)])
    assert bad.exit_code == 1
    assert f"Error: {run} may not ship.\n  {MOBILE}, hashes: labels.txt is not what was published" in bad.output
    assert "FAILED" in bad.output
    as_json = CliRunner().invoke(main, ["verify", str(run), "--json"])
    assert as_json.exit_code == 1
    assert json.loads(as_json.stdout)["passed"] is False
