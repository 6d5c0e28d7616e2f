"""The comparison of an exported file with the trained model, on figures worked out by hand."""

import json

import numpy as np
import pytest

from tfsent.cli.tables import print_parity
from tfsent.data.reviews import Reviews
from tfsent.exporting.parity import ReferenceAnswers, budgets, compare, report
from tfsent.recipe.schema import ExportConfig

REVIEWS = Reviews(("a", "b", "c", "d"), np.array([1, 1, 0, 0]), ("n", "p"), "made up")
TRAINED = np.array([[0.1, 0.9], [0.4, 0.6], [0.8, 0.2], [0.55, 0.45]], np.float32)


@pytest.mark.parametrize(
    ("artifact", "change", "faults"),
    [
        ("savedmodel", 0.00009, []),
        ("savedmodel", 0.0002, ["a probability differs by 0.0002, budget 0.0001"]),
        ("float32", 0.0002, ["a probability differs by 0.0002, budget 0.0001"]),
        ("int8", 0.04, []),
        ("int8", 0.06, ["25.00% of labels flip, budget 1.00%", "accuracy drops by 25.00%, budget 0.50%"]),
        ("int8", np.nan, ["it gave a probability that is not a number"]),
        ("savedmodel", np.nan, ["it gave a probability that is not a number"]),
    ],
)
def test_budgets_are_held(tmp_path, capsys, artifact, change, faults):
    (tmp_path / "file").write_bytes(b"x" * 1500)
    probabilities = TRAINED + np.array([[0, 0], [0, 0], [0, 0], [-change, change]], np.float32)
    parity = compare(
        artifact,
        tmp_path / "file",
        (probabilities, [0.001, 0.003, 0.002]),
        ReferenceAnswers(REVIEWS, TRAINED),
        budgets(ExportConfig())["mobile" if artifact == "int8" else artifact],
    )
    assert parity.passed is (not faults)
    for fault in faults:
        assert any(fault in found for found in parity.faults), parity.faults
    written = json.loads(json.dumps(report([parity], ReferenceAnswers(REVIEWS, TRAINED)).to_dict(), allow_nan=False))[
        "artifacts"
    ][0]
    assert (written["max_difference"] is None) is bool(np.isnan(change))
    print_parity(report([parity], ReferenceAnswers(REVIEWS, TRAINED)))
    assert ("–" in capsys.readouterr().out) is bool(np.isnan(change))
    assert parity.megabytes == 0.0015
    assert parity.latency_ms == pytest.approx(2)
