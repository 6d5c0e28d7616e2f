"""Results → what a person or another program reads on standard output. Nothing is computed here but percentages."""

from __future__ import annotations

import csv
import json
import math
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

import click

from tfsent.console import print_table

if TYPE_CHECKING:
    from pathlib import Path

    from tfsent.cli.doctor import Finding
    from tfsent.data.duplicates import Duplicates
    from tfsent.data.statistics import DataStatistics
    from tfsent.encoders.catalogue import Entry
    from tfsent.encoders.report import EncoderReport
    from tfsent.evaluation.metrics import Metrics
    from tfsent.exporting.parity import ParityReport
    from tfsent.inference.bench import BenchResult
    from tfsent.inference.predictor import Prediction
    from tfsent.text.tokenizer import Piece, Tokenizer
    from tfsent.training.learning_rate import SweepResult
    from tfsent.training.seeds import SeedsResult
    from tfsent.training.tuning import TuningResult


CLASSES_SHOWN = 100
"""Rows of a table of classes."""
MATRIX_CLASSES = 10
"""With more classes, the most frequent confusions are shown in place of the matrix."""


def print_statistics(found: DataStatistics) -> None:
    """Print what `tfsent data` found."""
    parts = found.parts
    classes = list(parts["train"].classes)
    rows = [(name, *(f"{part.classes[name]:,}" for part in parts.values())) for name in classes[:CLASSES_SHOWN]]
    if len(classes) > CLASSES_SHOWN:
        rest = [sum([*part.classes.values()][CLASSES_SHOWN:]) for part in parts.values()]
        rows.append((f"{len(classes) - CLASSES_SHOWN} more classes", *(f"{count:,}" for count in rest)))
    rows.append(("all reviews", *(f"{part.reviews:,}" for part in parts.values())))
    rows.append(("rows without text, left out", *(f"{part.empty_rows:,}" for part in parts.values())))
    print_table("Reviews", ("class", *parts), rows)
    tokens, widest = found.tokens, max(found.tokens.reviews)
    lengths = []
    for n, count in zip(tokens.up_to, tokens.reviews, strict=True):
        cut = tokens.max_tokens.get(n)
        shares = (f"{cut.reviews_cut:.1%}", f"{cut.tokens_lost:.1%}") if cut else ("", "")
        lengths.append((f"{f'≤ {n}':<8}{'█' * round(20 * count / widest)}", f"{count:,}", *shares))
    click.echo()
    title = f"Tokens of train, with [CLS] and [SEP]: mean {tokens.mean:.0f}, median {tokens.quantiles['50%']}"
    print_table(title, ("tokens", "reviews", "longer (cut)", "tokens cut off"), lengths)
    if tokens.unknown_tokens or tokens.unknown_texts:
        only = f"{tokens.unknown_texts:.2%} of the reviews are nothing else"
        click.echo(f"[UNK]: {tokens.unknown_tokens:.2%} of the tokens; {only}")
    click.echo()
    print_table("Duplicates", ("texts", "count"), _duplicate_rows(found.duplicates))


def _duplicate_rows(found: Duplicates) -> list[tuple[str, str]]:
    repeated = [(f"repeated in {name}", f"{count:,}") for name, count in found.repeated_in.items()]
    shared = [
        (f"in {name}, verbatim", f"{both.texts:,} ({both.with_the_same_label:,} with the same label)")
        for name, both in found.shared.items()
    ]
    near = [(f"nearly the same, {name}", f"{n:,} pairs") for name, n in found.near_duplicate_pairs.items()]
    return [
        *repeated,
        ("with two labels", f"{found.texts_with_two_labels:,}"),
        *shared,
        *(near or [("nearly the same", "0 pairs")]),
        ("compared to find those", f"{found.compared:,} texts"),
    ]


def print_encoders(entries: Sequence[tuple[Entry, bool]]) -> None:
    """Print the encoders worth knowing, each on three lines: nine columns would not fit a terminal."""
    for entry, fetched in entries:
        layers, hidden = entry.shape
        casing = "cased" if entry.cased else "uncased"
        click.echo(f"{entry.uri}{'  (fetched)' if fetched else ''}")
        click.echo(
            f"    {entry.name} · {layers} × {hidden} · {entry.parameters / 1e6:.1f} M parameters · "
            f"{entry.megabytes:,} MB · {entry.licence} · {casing} · {entry.languages}"
        )
        click.echo(f"    {entry.good_for}")


def print_encoder(report: EncoderReport) -> None:
    """Print what `tfsent encoders check` found."""
    for key, value in report.to_dict().items():
        if key not in ("files", "recorded") and value is not None:
            shown = f"{value:,}" if type(value) is int else {True: "yes", False: "no"}.get(value, value)
            click.echo(f"{key.replace('_', ' '):<20} {shown}")
    for name, digest in report.files.items():
        click.echo(f"{'SHA-256':<20} {digest}  {name}")
    click.echo(RECORDED[report.recorded])


RECORDED = {
    "same": "All files are as recorded.",
    "new": "First check of this encoder: its files are now recorded, and later checks compare against them.",
    "own": "This is a folder of your own: nothing is recorded to compare with.",
}


def print_findings(findings: Sequence[Finding]) -> None:
    """What `tfsent doctor` found."""
    for finding in findings:
        mark = {"ok": " ", "note": "·", "fault": "✗"}[finding.state]
        click.echo(f"{mark} {finding.topic:<12} {finding.found}")
        if finding.advice:
            click.echo(f"  {'':<12} → {finding.advice}")


def print_pieces(text: str, pieces: Sequence[Piece], tokenizer: Tokenizer) -> None:
    """The tokens of a text, and what truncation cuts."""
    spec = tokenizer.spec
    cut = sum(not piece.kept for piece in pieces)
    what = f"{cut:,} cut ({spec.truncation})" if spec.truncation != "windows" else "windows cover all"
    click.echo(
        f"{len(pieces):,} tokens and [CLS], [SEP]; room for {spec.max_tokens}: {what}. "
        f"{'Uncased' if spec.lowercase else 'Cased'} vocabulary of {len(tokenizer.vocabulary):,}."
    )
    rows = [
        (p.token, p.id, f"{p.start}–{p.stop}", repr(text[p.start : p.stop]), "" if p.kept else "cut") for p in pieces
    ]
    print_table("", ("token", "id", "characters", "text", "cut"), rows)


def print_json(predictions: Iterable[Prediction]) -> None:
    """Predictions, one JSON object a line."""
    for prediction in predictions:
        click.echo(json.dumps(prediction.to_dict()))


def print_csv(predictions: Iterable[Prediction], label_names: tuple[str, ...]) -> None:
    """Predictions as CSV with a header."""
    writer = csv.writer(sys.stdout, lineterminator="\n")
    writer.writerow(["text", "label", "probability", *(f"p_{name}" for name in label_names)])
    for p in predictions:
        writer.writerow([p.text, p.label, f"{p.probability:.6f}", *(f"{v:.6f}" for v in p.probabilities.values())])


def print_predictions(predictions: Iterable[Prediction]) -> None:
    """Predictions as a table."""
    rows = ((p.text if len(p.text) <= 100 else p.text[:99] + "…", p.label, f"{p.probability:.1%}") for p in predictions)
    print_table("", ("text", "label", "probability"), rows)


def print_metrics(found: Metrics) -> None:
    """Print what `tfsent evaluate` measured."""
    click.echo(f"{found.reviews:,} reviews: {found.origin}")
    low, high = found.accuracy_interval
    click.echo(f"accuracy {found.accuracy:.2%} (95% confidence interval {low:.2%} to {high:.2%})")
    for name, value, (low, high) in (
        ("balanced accuracy", found.balanced_accuracy, found.balanced_accuracy_interval),
        ("macro F1", found.macro_f1, found.macro_f1_interval),
    ):
        click.echo(f"{name} {value:.2%} ({low:.2%} to {high:.2%})")
    low, high = found.matthews_interval
    click.echo(f"Matthews' correlation {found.matthews:.4f} ({low:.4f} to {high:.4f})")
    for name, measured, interval in (
        ("ROC-AUC", found.roc_auc, found.roc_auc_interval),
        ("precision-recall AUC", found.pr_auc, found.pr_auc_interval),
        ("log loss in nats", found.log_loss, found.log_loss_interval),
        ("Brier score", found.brier, found.brier_interval),
    ):
        if measured is None or interval is None:
            click.echo(f"{name} –")
        else:
            click.echo(f"{name} {measured:.4f} ({interval[0]:.4f} to {interval[1]:.4f})")
    low, high = found.calibration_error_interval
    click.echo(f"calibration error {found.calibration_error:.2%} ({low:.2%} to {high:.2%}){_before(found)}")
    if found.threshold is not None:
        click.echo(f"{list(found.classes)[1]!r} is answered where its probability is above {found.threshold:.4f}")
    rows = [
        [name, f"{c.precision:.2%}", f"{c.recall:.2%}", f"{c.f1:.2%}", f"{c.support:,}"]
        for name, c in found.classes.items()
    ]
    header = ["class", "precision", "recall", "F1", "reviews"]
    if len(rows) <= 3 and all(len(name) <= 12 for name in found.classes):
        header += [f"predicted {name}" for name in found.classes]
        for row, predicted in zip(rows, found.confusion_matrix, strict=True):
            row += [f"{n:,}" for n in predicted]
        print_table("", header, rows)
    else:
        print_table("", header, rows[:CLASSES_SHOWN])
        _print_confusions(found)
    _print_missing(found)


def _before(found: Metrics) -> str:
    if found.calibration_error_before is None:
        return ""
    return f"; {found.calibration_error_before:.2%} without the temperature of {found.temperature:.3f}"


def _print_confusions(found: Metrics) -> None:
    """Print the confusion matrix, its columns numbered; of many classes the most frequent confusions."""
    names, matrix = list(found.classes), found.confusion_matrix
    click.echo()
    if len(names) <= MATRIX_CLASSES:
        numbered = enumerate(zip(names, matrix, strict=True), 1)
        rows = [(f"{i} {name}", *(f"{n:,}" for n in row)) for i, (name, row) in numbered]
        print_table("Confusions", ("true class, predicted as", *map(str, range(1, len(names) + 1))), rows)
        return
    wrong = [
        (count, true, predicted)
        for true, row in zip(names, matrix, strict=True)
        for predicted, count in zip(names, row, strict=True)
        if count and true != predicted
    ]
    most = sorted(wrong, key=lambda one: -one[0])[:MATRIX_CLASSES]
    most_rows = [(true, predicted, f"{count:,}") for count, true, predicted in most]
    print_table("Most frequent confusions", ("true class", "predicted", "reviews"), most_rows)


def _print_missing(found: Metrics) -> None:
    """Print what the figures do not cover."""
    if found.without_reviews:
        click.echo(f"No review here has the class {_listed(found.without_reviews)}: nothing is measured about it.")
    if found.never_predicted:
        click.echo(
            f"Never predicted: {_listed(found.never_predicted)}. Rare classes need more reviews, or more weight."
        )
    if found.unknown_labels:
        rows = sum(found.unknown_labels.values())
        click.echo(
            f"Left out: {rows:,} rows with labels that the model does not know: {_listed(found.unknown_labels)}."
        )


def _listed(names: Iterable[str]) -> str:
    names = list(names)
    return ", ".join(map(repr, names[:10])) + (f" and {len(names) - 10} more" if len(names) > 10 else "")


def print_parity(report: ParityReport) -> None:
    """Print what each exported file costs, and whether it may ship."""
    click.echo(f"{report.reviews:,} reviews: {report.origin}")
    click.echo(f"trained model: accuracy {report.trained_model_accuracy:.2%}; runtimes on {report.threads} threads")
    rows = [
        (
            parity.artifact,
            f"{parity.megabytes:.1f}",
            "–" if parity.max_difference is None else f"{parity.max_difference:.1e}",
            f"{parity.flips:.2%}",
            f"{parity.accuracy:.2%}",
            f"{0.0 - parity.accuracy_drop * 100:+.2f} pt",  # 0.0 - x: never -0.00
            f"{parity.mcnemar_p:.2f}",
            f"{parity.latency_ms:.1f}",
            "spare" if parity.not_chosen else "yes" if parity.passed else "NO",
        )
        for parity in report.artifacts
    ]
    header = ("file", "MB", "max diff.", "flipped", "accuracy", "change", "p", "ms a review", "ships")
    print_table("", header, rows)
    for parity in report.artifacts:
        if parity.not_chosen:
            click.echo(f"{parity.artifact} does not ship: {parity.not_chosen}.")
        if parity.remark:
            click.echo(parity.remark)
    for parity in report.artifacts:
        if parity.never_predicted:
            click.echo(
                f"{parity.artifact} never predicts {_listed(parity.never_predicted)}, of which there are reviews."
            )


def print_bench(results: Sequence[BenchResult]) -> None:
    """Print what `tfsent bench` measured."""
    rows = [
        (
            result.model,
            one.tokens,
            "–" if one.threads is None else one.threads,
            f"{one.p50_ms:.1f}",
            f"{one.p99_ms:.1f}",
        )
        for result in results
        for one in result.latencies
    ]
    print_table("One text at a time", ("model", "tokens", "threads", "median ms", "99% within ms"), rows)
    click.echo()
    print_table(
        "Many texts, and the start of a process",
        ("model", "reviews", "reviews a second", "first answer after s", "MB"),
        [
            (
                result.model,
                f"{result.reviews:,}",
                "–" if result.reviews_per_second is None else f"{result.reviews_per_second:,.1f}",
                f"{result.start_seconds:.2f}",
                f"{result.start_megabytes:,.0f}",
            )
            for result in results
        ],
    )


def print_seeds(result: SeedsResult, run: Path) -> None:
    """Print one line per seed, mean and standard deviation, and where the best run is."""
    metric = result.metric.replace("_", " ")
    rows = [
        (seed.seed, _score(result.metric, seed.score), f"{seed.best_epoch} of {seed.epochs}") for seed in result.seeds
    ]
    print_table("", ["seed", f"validation {metric}", "best epoch"], rows)
    for failed in result.failed:
        click.echo(f"Seed {failed.seed} failed and is not counted: {failed.why}")
    if (deviation := result.standard_deviation) is not None:
        shown = f"{deviation:.4f}" if result.metric == "loss" else f"{100 * deviation:.2f} points"
        click.echo(f"mean {_score(result.metric, result.mean)}, standard deviation {shown}")
    click.echo(f"The best run by validation is {run / result.best_run}; commands given {run} use it.")
    click.echo(f"Next: tfsent evaluate {run}")


def print_sweep(result: SweepResult, recipe: str, png: Path) -> None:
    """Print about ten learning rates with their losses, and the suggestion."""
    rows = list(zip(result.rates, result.smoothed, strict=True))
    rows = rows[:: max(1, len(rows) // 10)]
    print_table("", ["learning rate", "loss"], [(f"{rate:.1e}", f"{loss:.4f}") for rate, loss in rows])
    click.echo(f"suggestion: {result.suggestion:.1e}; the plot is in {png}")
    click.echo(f"Next: tfsent train {recipe} --set train.learning_rate={result.suggestion:.1e}")


def print_trials(result: TuningResult, folder: Path) -> None:
    """Print the trials, the best first."""
    names = list(result.best.settings)  # the searched keys
    sign = 1 if result.metric == "loss" else -1
    ranked = sorted(result.trials, key=lambda trial: math.inf if trial.score is None else sign * trial.score)
    rows = [
        [
            "–" if trial.score is None else _score(result.metric, trial.score),
            *(f"{value:.3g}" if isinstance(value := trial.settings[name], float) else value for name in names),
            "" if trial.state == "complete" else trial.state,
        ]
        for trial in ranked
    ]
    metric = f"validation {result.metric.replace('_', ' ')}"
    print_table("", [metric, *(name.rpartition(".")[2] for name in names), "note"], rows)
    click.echo(f"The best settings are in {folder}/best.yaml, the plot in {folder}/trials.png.")
    click.echo(f"Next: tfsent train {folder}/best.yaml --run-dir runs/tuned")


def _score(metric: str, value: float) -> str:
    return f"{value:.4f}" if metric == "loss" else f"{value:.2%}"
