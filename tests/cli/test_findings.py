"""What `tfsent evaluate` prints beyond the metrics."""

import pytest

from tfsent.cli.findings import print_analysis
from tfsent.evaluation.analysis import Analysis, Histogram, Lengths, Reliability, Slice, WorstError


def part(value="y", verdict="alike", by="x", rest=0.9):
    return Slice(by, value, 1234, 0.875, (0.85, 0.9), rest, verdict)


def analysis(slices=(), errors=(), near=None, cut=None):
    lengths = None if cut is None else Lengths(Histogram((0.0, 1.0), {"reviews": (1,)}), 128, cut)
    histogram = Histogram((0.0, 1.0), {"negative": (1,)})
    found = Reliability(0.0, ())
    return Analysis(100, "test", "", found, None, None, None, histogram, lengths, tuple(slices), tuple(errors), near)


def printed(capsys, found):
    print_analysis(found)
    return capsys.readouterr().out


def test_slices_from_the_worst(capsys):
    said = printed(capsys, analysis([part("bad", "worse"), part("so", "alike"), part("few", "too few")], cut=0.25))
    assert "25.0% of the reviews are longer than the model reads: they are cut." in said
    assert said.index("x: bad") < said.index("x: so")
    assert "87.5% (85.0–90.0)" in said and "not shown" in said and "x: few" not in said
    assert "1 of these 2 is shown to be worse than the others (Fisher's exact test, corrected after Holm)." in said
    assert "1 more has too few reviews to tell." in said


@pytest.mark.parametrize(("worse", "words"), [(0, "None of these 3 is"), (2, "2 of these 3 are")])
def test_how_many_are_worse(capsys, worse, words):
    slices = [part(str(i), "worse" if i < worse else "better") for i in range(3)]
    assert f"{words} shown to be worse" in printed(capsys, analysis(slices))


def test_confidence_is_for_the_report(capsys):
    assert printed(capsys, analysis([part("up to 60%", "worse", "confidence")])) == ""


def test_many_slices_are_cut_and_narrow(capsys):
    said = printed(capsys, analysis([part(f"{i} {'word ' * 12}", rest=None) for i in range(30)]))
    assert "10 more are not shown here." in said
    assert max(map(len, said.splitlines())) <= 100


def test_the_most_confident_errors(capsys):
    errors = [WorstError(i, f"text {i}\n" + "long " * 40, "negative", "positive", 0.987) for i in range(10)]
    said = printed(capsys, analysis(errors=errors, near=3))
    assert "text 4 long" in said and "text 5" not in said and "98.7%" in said
    assert "3 confident errors are left out: their texts nearly occur in train." in said
    assert "left out" not in printed(capsys, analysis(errors=errors, near=0))
    assert "1 confident error is left out" in printed(capsys, analysis(errors=errors, near=1))
