"""Two models on the same reviews: any two forms, of one run or of two."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tfsent.api.answers import load
from tfsent.api.reading import read_labelled, reading_of
from tfsent.errors import ConfigError

if TYPE_CHECKING:
    import numpy as np

    from tfsent.data.reviews import Reviews
    from tfsent.evaluation.comparison import Comparison
    from tfsent.inference.predictor import Predictor


def compare(
    a: str | Path,
    b: str | Path,
    split: str = "test",
    *,
    data: Any = None,
    overrides: Any = (),
    output: str | Path | None = None,
) -> Comparison:
    """Compare two models on the same reviews: which is better, and whether that may be chance.

    Args:
        a: a run, a SavedModel or a `.tflite` file; see `load`.
        b: another one, with the same classes in any order.
        split: without `data`, the held-out reviews of the runs that both lie in: `test`, or `validation`. Both runs
            must hold out the same reviews.
        data: labelled reviews of yours: a path to a file or folder, `(texts, labels)`, a DataFrame or an Arrow table.
            Neither model may have learnt from them. Columns are read as the run `a` reads its own.
        overrides: keys below `data.` that say how to read `data`, such as `{"data.text": "body"}`.
        output: a CSV for the reviews that the two answer differently; None writes none.

    Returns:
        The differences with 95% intervals, a verdict in words, and the reviews that flip.

    Raises:
        ConfigError: the classes differ, or the two have no held-out reviews in common.
        RunError: a run is not finished, or `output` is a file of something else.
        ArtifactError: a model cannot be opened.
        DataError: the reviews cannot be read.

    Example:
        >>> tfsent.compare("runs/quickstart", "runs/quickstart/export/mobile/model.tflite").verdict
        'No difference in accuracy: A and B are right and wrong alike on all 2,000 reviews.'
    """
    from tfsent.evaluation.comparison import compare_answers, require_flips, write_flips

    if data is None and overrides:
        raise ConfigError("overrides say how data of your own is read. Pass data, too.")
    if output is not None:
        require_flips(Path(output))
    models = [load(a), load(b)]
    names = models[0].label_names
    if set(models[1].label_names) != set(names):
        raise ConfigError(
            f"{a} answers {', '.join(names)}, and {b} {', '.join(models[1].label_names)}. Expected two models of the "
            "same classes."
        )
    if data is None:
        reviews = _held_out_of_both((Path(a), Path(b)), names, split)
    else:
        reviews, _ = read_labelled(data, reading_of(a, data, overrides), names)
    asked = [_ask(model, reviews, str(path)) for model, path in zip(models, (a, b), strict=True)]
    (of_a, said_a), (of_b, said_b) = asked
    found = compare_answers(
        reviews, (of_a, of_b), (said_a, said_b), (str(a), str(b)), "" if data is not None else split
    )
    if output is not None:
        write_flips(Path(output), found.flips)
    return found


def _held_out_of_both(paths: tuple[Path, Path], names: tuple[str, ...], split: str) -> Reviews:
    """Return the held-out reviews of the runs that two models lie in, with the classes in the order of the names."""
    a, b = (_held_out(path, names, split) for path in paths)
    if a.fingerprint != b.fingerprint:
        raise ConfigError(
            f"The {split} reviews of {paths[0]} and {paths[1]} differ ({a.origin}; {b.origin}), and what one holds out "
            "the other may have learnt. Name reviews that neither has learnt with --data FILE."
        )
    return a


def _held_out(path: Path, names: tuple[str, ...], split: str) -> Reviews:
    from tfsent.data.reviews import load_reviews
    from tfsent.storage import run_directory

    run = run_directory.run_of(path)
    if run is None:
        raise ConfigError(f"{path} does not lie in its run, which has held-out reviews. Name yours with --data FILE.")
    reviews = load_reviews(run / "heldout" / f"{split}.jsonl.gz")
    if set(reviews.label_names) != set(names):
        raise ConfigError(
            f"{path} answers {', '.join(names)}, and its run {run} {', '.join(reviews.label_names)}. Export the run "
            "again."
        )
    return replace(reviews, labels=_places(reviews.label_names, names)[reviews.labels], label_names=names)


def _ask(model: Predictor, reviews: Reviews, name: str) -> tuple[np.ndarray, np.ndarray]:
    """Return what a model says, by the classes of the reviews: `float32[n, classes]`, and its answers, `int[n]`."""
    from tfsent.console import progress_bar

    with progress_bar(f"asking {name}", len(reviews)) as bar:
        probabilities = model.predict_proba(reviews.texts, bar.update)
    places = _places(model.label_names, reviews.label_names)
    aligned = probabilities[:, _places(reviews.label_names, model.label_names)]
    return aligned, places[model.choose(probabilities)]


def _places(names: tuple[str, ...], among: tuple[str, ...]) -> np.ndarray:
    """Return where each name stands among others, `int32[names]`."""
    import numpy as np

    return np.array([among.index(name) for name in names], np.int32)
