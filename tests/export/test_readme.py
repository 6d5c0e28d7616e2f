"""export/README.md: the lines that it shows for MediaPipe choose the label that tfsent chooses."""

import re
from pathlib import Path
from types import SimpleNamespace as Named

README = Path(__file__).parents[2] / "export" / "README.md"


class Classifier:
    """Answers as MediaPipe's TextClassifier does: categories from the highest score to the lowest."""

    def __init__(self, labels, row):
        categories = [Named(category_name=label, score=score) for label, score in zip(labels, row, strict=True)]
        self._categories = sorted(categories, key=lambda one: -one.score)

    def classify(self, text):
        return Named(classifications=[Named(categories=self._categories)])


def test_the_lines_for_mediapipe_choose_the_label(choice):
    (shown,) = re.findall(r"```python\n(scores = .*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    threshold = choice.decision.threshold if choice.decision else None
    places = []
    for row in choice.probabilities.tolist():
        names = {"classifier": Classifier(choice.classes, row), "text": "", "labels": choice.classes}
        names["threshold"] = threshold
        exec(shown, names)
        places.append(names["chosen"])
    assert places == choice.places
