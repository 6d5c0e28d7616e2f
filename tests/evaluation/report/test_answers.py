"""How good, where not, may it ship: the three answers of the first screen."""

import pytest

from tfsent.evaluation.intervals import wilson
from tfsent.evaluation.report.answers import digits_for, how_good, may_ship, where_not
from tfsent.evaluation.report.facts import read_facts
from tfsent.evaluation.report.measured import Figure


def good(run):
    return how_good(read_facts(run))


def ship(run):
    return may_ship(read_facts(run))


def test_after_training_the_headline_is_of_the_best_epoch(runs):
    found = good(runs())
    assert (found.name, found.figure) == ("validation accuracy", Figure(0.9, *wilson(360, 400)))
    assert found.others == (("validation macro F1", Figure(0.89)),)
    assert found.measured_on == "400 validation reviews, after epoch 2 of 3, the best one"
    assert found.cautions == ("The best epoch was chosen by these reviews, so the figures flatter.",)
    assert found.measure_first


def test_windows_are_no_reviews_so_their_accuracy_has_no_interval(runs):
    assert good(runs(settings=["text.truncation=windows"])).figure == Figure(0.9)


def test_a_run_without_any_figure(runs):
    run = runs()
    runs.write(run, "history.csv", "epoch,val_loss\n")
    assert (good(run).figure, good(run).measure_first) == (None, True)
    (run / "history.csv").unlink()
    assert good(run).figure is None


def test_figures_of_validation_stand_in_for_those_of_test(runs):
    run = runs(evaluated=True)
    (run / "metrics.json").rename(run / "metrics-validation.json")
    found = good(run)
    assert found.measured_on == "400 validation reviews: of test"
    assert found.cautions == ("The best epoch was chosen by these reviews, so the figures flatter.",)


def test_the_headline_is_of_the_test_reviews(runs):
    found = good(runs(evaluated=True))
    assert (found.name, found.cautions, found.measure_first) == ("accuracy", (), False)
    assert [name for name, _ in found.others] == ["macro F1", "calibration error"]
    assert 0.5 < found.majority < 0.6


def test_what_limits_the_figures_is_said(runs):
    run = runs(evaluated=True)
    runs.change(run, "metrics.json", without_reviews=["a"], unknown_labels={"x": 1200}, unknown_tokens=0.3)
    (run / "checkpoints" / "step-5").mkdir(parents=True)
    assert good(run).cautions == (
        "Training was interrupted: this is the model as it was then.",
        "These reviews have none of “a”.",
        "1,200 rows with labels that the model does not know are left out.",
        "30.0% of the tokens are unknown to the vocabulary.",
    )


def test_a_folder_in_an_origin_is_left_out(runs):
    run = runs(evaluated=True)
    runs.change(run, "metrics.json", origin="reviews in /home/somebody/data/a.csv")
    assert good(run).measured_on == "400 test reviews: reviews in …/a.csv"


@pytest.mark.parametrize(
    ("figure", "reviews", "digits"),
    [
        (Figure(0.9, 0.88, 0.92), 1000, 1),
        (Figure(0.9, 0.897, 0.903), 25_000, 2),
        (None, 500, 1),
        (Figure(0.9), 20_000, 2),
    ],
)
def test_the_interval_decides_how_many_decimals_are_written(figure, reviews, digits):
    assert digits_for(figure, reviews) == digits


def test_the_worst_slices_are_named_but_not_those_of_low_confidence(runs):
    found = where_not(read_facts(runs(evaluated=True)))
    assert [(one.by, one.value) for one in found.worse] == [("length", "over 512 tokens"), ("genre", "horror")]
    assert (found.all_worse, found.compared, found.too_few) == (2, 3, 1)
    assert found.weakest.name in ("negative", "positive")


def test_only_the_first_slices_are_named_and_all_are_counted(runs):
    slices = runs.analysis(("a", "b")).slices[:1] * 7
    found = where_not(read_facts(runs(evaluated=True, slices=slices)))
    assert (len(found.worse), found.all_worse) == (3, 7)


def test_classes_that_are_never_predicted_are_named(runs):
    run = runs(evaluated=True)
    runs.change(run, "metrics.json", never_predicted=["neutral"])
    assert where_not(read_facts(run)).never_predicted == ("neutral",)


def test_without_an_analysis_nothing_is_claimed(runs):
    found = where_not(read_facts(runs()))
    assert (found.measured, found.worse, found.weakest, found.compared) == (False, (), None, 0)


def test_nothing_is_exported(runs):
    assert (ship(runs()).targets, ship(runs("b")).headline) == ((), "Not exported yet")


def test_all_ships(runs):
    found = ship(runs(exported=True))
    assert found.headline == "Yes"
    assert [(one.name, one.file.name, one.verdict) for one in found.targets] == [
        ("TensorFlow Serving", "savedmodel", "yes"),
        ("Phone", "int8", "yes"),
    ]


def test_one_target_alone(runs):
    run = runs()
    runs.write_exports(run, runs.files[:1], ["export/serving/1"])
    found = ship(run)
    assert [(one.name, one.verdict) for one in found.targets] == [
        ("TensorFlow Serving", "yes"),
        ("Phone", "not exported"),
    ]
    assert (found.headline, found.targets[1].option) == ("Yes", "mobile")


def test_a_file_over_its_budget_holds_the_others_back(runs):
    run = runs()
    over = runs.parity("int8", faults=("3.00% of labels flip, budget 1.00%",))
    runs.write_exports(run, [runs.files[0], over], [])
    found = ship(run)
    assert found.headline == "No"
    assert [one.reason for one in found.targets] == [
        "another file is over its budget, so nothing was published",
        "3.00% of labels flip, budget 1.00%",
    ]


def test_files_of_another_model_do_not_ship(runs):
    run = runs(exported=True)
    runs.write(run, "export/mobile/manifest.json", {"model": {"model.keras": "0" * 64}})
    found = ship(run)
    assert found.headline == "Not as it is"
    assert found.warnings == ("The files were exported before the model changed: export again.",)


def test_a_file_that_is_gone_does_not_ship(runs):
    run = runs(exported=True)
    (run / "export" / "mobile").rmdir()
    found = ship(run)
    assert found.headline == "Not all of it"
    assert found.targets[1].reason == "export/mobile is no longer there: export again"


def test_other_warnings(runs):
    run = runs()
    runs.write_exports(run, trained_model_never_predicted=["a", "b", "c", "d", "e", "f"])
    assert ship(run).warnings == ("The trained model never predicts “a”, “b”, “c”, “d” and 2 more on these reviews.",)
    runs.write(run, "verify.json", "{")
    assert ship(run).warnings == ("verify.json cannot be read. `tfsent export` writes it anew.",)
