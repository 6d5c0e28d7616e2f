"""`tfsent.load`, `evaluate`, `export` and `Run` as a Python user calls them."""

import json
import shutil
import subprocess
import sys

import numpy as np
import pytest

import tfsent
from tfsent.errors import BudgetError, ConfigError, RunError


def test_a_keras_model_opens_after_import_tfsent_alone(tiny_run):
    code = (
        "import tfsent, keras; "
        f"model = keras.saving.load_model({str(tiny_run / 'model' / 'model.keras')!r}); print(model.name)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["classifier"]


def test_the_loaded_model_is_a_keras_model(tiny_run):
    model = tfsent.load(tiny_run)
    ids = np.array([[2, 5, 3]], np.int32)
    logits = model.model({"token_ids": ids, "segment_ids": 0 * ids, "padding_mask": ids > 0})
    assert logits.shape == (1, 2)
    assert model.predict_proba(["good film"]).shape == (1, 2)


def test_over_budget_carries_its_report(tiny_run, tmp_path):
    run = shutil.copytree(tiny_run, tmp_path / "run")
    with pytest.raises(BudgetError, match="Nothing was published") as caught:
        tfsent.export(run, ["serving"], {"export.budget.savedmodel_difference": 0})
    assert not caught.value.report.passed
    assert json.loads((run / "verify.json").read_text()) == caught.value.report.to_dict()


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ((["phone"],), "Unknown target 'phone'. Expected serving or mobile"),
        ((["mobile"], {"train.epochs": 2}), "only keys below export. can still be set"),
    ],
)
def test_export_refuses_what_it_does_not_know(words, message, tiny_run):
    with pytest.raises(ConfigError, match=message):
        tfsent.export(tiny_run, *words)


def test_no_run_is_said_to_be_none(tmp_path):
    run = tfsent.Run(tmp_path / "none")
    assert repr(run) == f"Run({str(tmp_path / 'none')!r})"
    for use in (run.evaluate, run.export, lambda: run.history, lambda: run.config):
        with pytest.raises(RunError, match="No run at"):
            use()


def test_another_backend_is_refused_and_kept(tiny_run):
    code = (
        "import os, tfsent\n"
        f"try: tfsent.load({str(tiny_run)!r})\n"
        "except tfsent.TfsentError as error: print(error)\n"
        "print(os.environ['KERAS_BACKEND'])"
    )
    done = subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=True,
        env={**_environment(), "KERAS_BACKEND": "jax"},
    )
    assert "needs Keras on tensorflow, and KERAS_BACKEND is jax" in done.stdout
    assert done.stdout.split()[-1] == "jax"


def _environment():
    import os

    return dict(os.environ)
