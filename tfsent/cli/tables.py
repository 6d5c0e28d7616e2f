"""Results → what a person or another program reads on standard output. Nothing is computed here but percentages."""

from __future__ import annotations

import csv
import json
import sys
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Any

import click

from tfsent.console import print_table
from tfsent.encoders.hubs import is_hub

if TYPE_CHECKING:
    from pathlib import Path

    from tfsent.cli.doctor import Finding
    from tfsent.inference.predictor import Prediction
    from tfsent.text.tokenizer import Piece, Tokenizer


def print_audit(result: dict[str, Any]) -> None:
    """What `tfsent data` found."""
    names = list(result["parts"]["train"]["classes"])
    rows = [
        (name, f"{part['reviews']:,}", f"{part['empty_rows']:,}", *(f"{n:,}" for n in part["classes"].values()))
        for name, part in result["parts"].items()
    ]
    print_table("Reviews", ("split", "reviews", "empty rows", *names), rows)
    tokens, widest = result["tokens"], max(result["tokens"]["histogram"]["reviews"])
    bars = zip(tokens["histogram"]["up_to"], tokens["histogram"]["reviews"], strict=True)
    cut = {n: (f"{c['reviews_cut']:.1%}", f"{c['tokens_lost']:.1%}") for n, c in tokens["max_tokens"].items()}
    lengths = [
        (f"{f'≤ {n}':<8}{'█' * round(20 * count / widest)}", f"{count:,}", *cut.get(n, ("", ""))) for n, count in bars
    ]
    title = f"Tokens of train, with [CLS] and [SEP]: mean {tokens['mean']:.0f}, median {tokens['quantiles']['50%']}"
    click.echo()
    print_table(title, ("tokens", "reviews", "longer (cut)", "tokens cut off"), lengths)
    found = result["duplicates"]
    twice = [(f"repeated in {name}", f"{count:,}") for name, count in found["repeated_in"].items()]
    shared = [
        (f"in {name}, letter by letter", f"{s['texts']:,} ({s['with_the_same_label']:,} with the same label)")
        for name, s in found["shared"].items()
    ]
    near = [(f"nearly the same, {name}", f"{n:,} pairs") for name, n in found["near_duplicate_pairs"].items()]
    near = near or [("nearly the same", "0 pairs")]
    near.append(("compared to find those", f"{found['compared']:,} texts"))
    both = [("with two labels", f"{found['texts_with_two_labels']:,}")]
    click.echo()
    print_table("Duplicates", ("texts", "count"), [*twice, *both, *shared, *near])
    scripts = [(name, f"{share:.2%}") for name, share in result["scripts"].items() if share >= 0.0001]
    click.echo()
    print_table("Scripts of train", ("script", "of all letters"), scripts)


def print_encoders(rows: Sequence[Sequence[str]], fetched: Sequence[bool]) -> None:
    """The encoders worth knowing, each on two lines: nine columns would not fit a terminal."""
    for row, here in zip(rows, fetched, strict=True):
        name, good_for, facts = row[0], row[-1], row[1:-1]
        click.echo(f"{name}{'  (fetched)' if here else ''}")
        click.echo(f"    {facts[0]} · {facts[1]} · {facts[2]} parameters · {facts[3]} MB · {' · '.join(facts[4:])}")
        click.echo(f"    {good_for}")


def print_encoder(result: dict[str, Any]) -> None:
    """What `tfsent encoders check` found."""
    hidden = ("files", "fingerprint", "difference")
    for key, value in result.items():
        if key not in hidden and value is not None:
            shown = f"{value:,}" if type(value) is int else {True: "yes", False: "no"}.get(value, value)
            click.echo(f"{key.replace('_', ' '):<20} {shown}")
    for name, digest in result["files"].items():
        click.echo(f"{'SHA-256':<20} {digest}  {name}")
    if result["difference"] is None and is_hub(result["uri"]):
        click.echo("No encoding of it was recorded before. From here on its files are compared with those of now.")
    elif result["difference"] is None:
        click.echo("Nothing was recorded of it to compare with: it is a folder of your own.")
    else:
        click.echo(f"The sentence is encoded as recorded: largest difference {result['difference']:.1e}.")


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
        click.echo(json.dumps(vars(prediction), ensure_ascii=False))


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


def print_metrics(result: dict[str, Any]) -> None:
    """What `tfsent evaluate` measured."""
    low, high = result["accuracy_interval"]
    click.echo(f"{result['reviews']:,} reviews: {result['origin']}")
    click.echo(f"accuracy {result['accuracy']:.2%} (95% confidence interval {low:.2%} to {high:.2%})")
    click.echo(f"ROC-AUC {result['roc_auc']:.4f} · log loss {result['log_loss']:.4f}")
    names = list(result["classes"])
    rows = []
    for name, predicted in zip(result["classes"], result["confusion_matrix"], strict=True):
        c = result["classes"][name]
        shares = [f"{c[key]:.2%}" for key in ("precision", "recall", "f1")]
        rows.append([name, *shares, f"{c['support']:,}", *(f"{n:,}" for n in predicted)])
    print_table("", ("class", "precision", "recall", "F1", "reviews", *(f"predicted {name}" for name in names)), rows)


def print_parity(result: dict[str, Any]) -> None:
    """What each exported file costs, and whether it may ship."""
    click.echo(f"{result['reviews']:,} reviews: {result['origin']}")
    click.echo(
        f"trained model: accuracy {result['trained_model_accuracy']:.2%}; runtimes on {result['threads']} threads"
    )
    rows = [
        (
            a["artifact"],
            f"{a['megabytes']:.1f}",
            "–" if a["max_difference"] is None else f"{a['max_difference']:.1e}",
            f"{a['flips']:.2%}",
            f"{a['accuracy']:.2%}",
            f"{0.0 - a['accuracy_drop'] * 100:+.2f} pt",  # and not -0.00
            f"{a['latency_ms']:.1f}",
            "yes" if a["passed"] else "NO",
        )
        for a in result["artifacts"]
    ]
    header = (
        "file",
        "MB",
        "max diff.",
        "labels flipped",
        "accuracy",
        "accuracy change",
        "ms a review",
        "may ship",
    )
    print_table("", header, rows)


def print_seeds(result: dict[str, Any], run: Path) -> None:
    """A line a seed, mean and spread, and where the best one is."""
    rows = [
        (entry["seed"], f"{entry['validation_accuracy']:.2%}", f"{entry['best_epoch']} of {entry['epochs']}")
        for entry in result["seeds"]
    ]
    print_table("", ["seed", "validation accuracy", "best epoch"], rows)
    for entry in result["failed"]:
        print(f"Seed {entry['seed']} failed and is not counted: {entry['why']}")
    if result["standard_deviation"] is not None:
        print(f"mean {result['mean']:.2%}, standard deviation {100 * result['standard_deviation']:.2f} points")
    print(f"Seed {result['best']} is the best by validation and is now {run}; the others are in {run}.seeds.")
    print(f"Next: tfsent evaluate {run}")


def print_sweep(result: dict[str, Any], recipe: str, png: Path) -> None:
    """Some ten rates with their losses, and the suggestion."""
    rows = list(zip(result["rates"], result["smoothed"], strict=True))
    rows = rows[:: max(1, len(rows) // 10)]
    print_table("", ["learning rate", "loss"], [(f"{rate:.1e}", f"{loss:.4f}") for rate, loss in rows])
    print(f"suggestion: {result['suggestion']:.1e}; the plot is in {png}")
    print(f"Next: tfsent train {recipe} --set train.learning_rate={result['suggestion']:.1e}")


def print_trials(result: dict[str, Any], folder: Path) -> None:
    """The trials from the best down."""
    names = list(result["best"]["settings"])  # those that were searched
    ranked = sorted(result["trials"], key=lambda entry: entry["validation_accuracy"] or 0.0, reverse=True)
    rows = [
        [
            "–" if entry["validation_accuracy"] is None else f"{entry['validation_accuracy']:.2%}",
            *(f"{value:.3g}" if isinstance(value := entry["settings"][name], float) else value for name in names),
            "pruned" if entry["state"] == "pruned" else "failed" if entry["state"] == "fail" else "",
        ]
        for entry in ranked
    ]
    print_table("", ["validation accuracy", *(name.rpartition(".")[2] for name in names), "note"], rows)
    print(f"The best settings are in {folder}/best.yaml, the plot in {folder}/trials.png.")
    print(f"Next: tfsent train {folder}/best.yaml --run-dir runs/tuned")
