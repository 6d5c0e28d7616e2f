"""The text specification and the vocabulary: what decides which ids a text becomes. `tokenizer.py` is the graph.

Nothing here needs TensorFlow: a machine without it can train on tokens that were made elsewhere.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from tfsent.errors import ArtifactError, EncoderError

TOKENIZER_VERSION = 1
"""Part of the key of cached tokens. Raise it when any text gets other ids; a test with golden ids fails until then."""
SPECIAL_TOKENS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")
MAX_BYTES = 1_000_000
"""Bytes of one text that are read: one request must not bring down a server."""
MAX_WORD = 100
"""Characters of the longest word that is looked up, as in BERT."""
MAX_WINDOWS = 32
"""Windows of one text, for the same reason. At 512 tokens they cover about 9,000 words."""
HTML_BREAK = r"<[bB][rR][ \t\n\r\f]*/?>"
"""What becomes a space, for the regular expressions of every language that an app is written in."""
_FIXED = {"html_break": HTML_BREAK, "max_bytes": MAX_BYTES, "max_word_characters": MAX_WORD, "max_windows": MAX_WINDOWS}
"""Part of the specification that is the same for every model. `text.json` has it for readers in other languages."""
_DERIVED = ("head_tokens", "window_step")
"""What follows from the others. `text.json` has it, for languages round a half in different ways."""


@dataclass(frozen=True)
class TextSpec:
    """Everything except the vocabulary that decides which ids a text becomes. Every artifact has it."""

    lowercase: bool
    max_tokens: int
    """Longest row, [CLS] and [SEP] included; at least 3."""
    truncation: str = "head_tail"
    """What is kept of a long text: `head`, `tail` or `head_tail`; or `windows`, all of it in overlapping rows."""
    head_fraction: float = 0.25
    """With `head_tail`: share of the kept tokens that is taken from the start."""
    window_overlap: float = 0.25
    """With `windows`: share of a row that the next row repeats."""

    @property
    def room(self) -> int:
        """Tokens of a row between [CLS] and [SEP]."""
        return self.max_tokens - 2

    @property
    def head_tokens(self) -> int:
        """How many tokens of a text that is too long are taken from its start; the others from its end."""
        return {"head": self.room, "tail": 0}.get(self.truncation, round(self.room * self.head_fraction))

    @property
    def window_step(self) -> int:
        """How many tokens after a window the next one begins."""
        return max(1, self.room - round(self.room * self.window_overlap))


def write_text_files(folder: Path, spec: TextSpec, vocabulary: Sequence[str]) -> None:
    """Write `vocab.txt` and `text.json` into a folder.

    Args:
        folder: must exist.
        spec: the text specification.
        vocabulary: WordPiece tokens; the index is the id.
    """
    (folder / "vocab.txt").write_text("\n".join(vocabulary) + "\n", encoding="utf-8")
    whole = {**asdict(spec), **{name: getattr(spec, name) for name in _DERIVED}, **_FIXED}
    (folder / "text.json").write_text(json.dumps(whole, indent=2) + "\n", encoding="utf-8")


def read_text_files(folder: Path) -> tuple[TextSpec, tuple[str, ...]]:
    """Read what `write_text_files` wrote.

    Raises:
        ArtifactError: a file is missing or damaged, or another tfsent wrote it, with rules that this one lacks.
    """
    try:
        whole = json.loads((folder / "text.json").read_text(encoding="utf-8"))
        for key, own in _FIXED.items():
            if (found := whole.pop(key, own)) != own:
                raise ValueError(f"{key} is {found!r}; this tfsent has {own!r}")
        for key in _DERIVED:
            whole.pop(key, None)
        return TextSpec(**whole), read_vocabulary(folder / "vocab.txt")
    except (OSError, TypeError, ValueError, AttributeError) as error:
        raise ArtifactError(f"Cannot read the text specification in {folder}: {error}.") from error


def read_vocabulary(path: Path) -> tuple[str, ...]:
    """Read a `vocab.txt`, one token a line. Only a line feed ends a line: a token may contain other separators."""
    text = path.read_text(encoding="utf-8")
    return tuple(line.rstrip("\r") for line in text.removesuffix("\n").split("\n"))


def check_vocabulary(vocabulary: Sequence[str]) -> None:
    """Refuse a vocabulary that WordPiece cannot use.

    Raises:
        EncoderError: a special token is missing, or a token occurs twice.
    """
    missing = [token for token in SPECIAL_TOKENS if token not in vocabulary]
    if missing:
        raise EncoderError(
            f"The vocabulary ({len(vocabulary):,} tokens) lacks {', '.join(missing)}. Expected a BERT WordPiece "
            "vocabulary, one token a line."
        )
    if len(set(vocabulary)) != len(vocabulary):
        seen: set[str] = set()
        twice = next(token for token in vocabulary if token in seen or seen.add(token))  # type: ignore[func-returns-value]
        raise EncoderError(
            f"The vocabulary has the token {twice!r} twice. Expected each token once: its line is its id."
        )


def write_labels(folder: Path, label_names: Sequence[str]) -> None:
    """Write `labels.txt` into a folder: the classes, one a line, in the order of the model's outputs."""
    (folder / "labels.txt").write_text("\n".join(label_names) + "\n", encoding="utf-8")


def read_labels(folder: Path) -> tuple[str, ...]:
    """Read what `write_labels` wrote.

    Raises:
        ArtifactError: the file is missing.
    """
    try:
        return tuple((folder / "labels.txt").read_text(encoding="utf-8").removesuffix("\n").split("\n"))
    except OSError as error:
        raise ArtifactError(
            f"{folder} has no labels.txt. Expected what `tfsent export` wrote: the file and its companions together."
        ) from error
