"""The tokenizer of a `TextSpec` without TensorFlow: the same ids as the graph of `tokenizer.py`, by Hugging Face
`tokenizers`.

It serves where only a `.tflite` file is asked, such as on an edge device. It loads in a tenth of a second. The graph is
several times as fast on many texts.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from tokenizers import Tokenizer as Pipeline
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from tfsent.text.spec import HTML_BREAK, MAX_BYTES, MAX_WINDOWS, MAX_WORD, SPECIAL_TOKENS, TextSpec, read_text_files


class LightTokenizer:
    """Texts → token ids, as the graph makes them.

    Args:
        spec: the text specification.
        vocabulary: WordPiece tokens; the index is the id.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str]):
        self.spec = spec
        self.vocabulary = tuple(vocabulary)
        self.pad_id, self.unk_id, self.cls_id, self.sep_id = (self.vocabulary.index(t) for t in SPECIAL_TOKENS)
        ids = {token: i for i, token in enumerate(vocabulary)}
        # Without added tokens: a text that spells "[SEP]" must not end itself.
        self._pipeline = Pipeline(WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=MAX_WORD))
        self._pipeline.normalizer = BertNormalizer(lowercase=spec.lowercase, strip_accents=spec.lowercase)
        self._pipeline.pre_tokenizer = BertPreTokenizer()

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """Return all token ids of each text, without truncation, [CLS] and [SEP]."""
        encodings = self._pipeline.encode_batch_fast(list(map(_plain, texts)), add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def __call__(self, texts: Sequence[str]) -> tuple[list[np.ndarray], np.ndarray]:
        """Return the model's rows, and the index of each row's text.

        Args:
            texts: the texts.

        Returns:
            Rows, each `int32[length]` from [CLS] to [SEP] with at most `max_tokens`; and `int64[rows]`, rising.
        """
        rows, owner = [], []
        for i, ids in enumerate(self.tokenize(texts)):
            for part in self._parts(ids):
                rows.append(np.array([self.cls_id, *part, self.sep_id], np.int32))
                owner.append(i)
        return rows, np.array(owner, np.int64)

    def _parts(self, ids: list[int]) -> list[list[int]]:
        """Return what is kept of a text: one part, or the windows over it."""
        room, spec = self.spec.room, self.spec
        if len(ids) <= room:
            return [ids]
        if spec.truncation == "windows":
            count = min(1 + -(-(len(ids) - room) // spec.window_step), MAX_WINDOWS)
            starts = [min(i * spec.window_step, len(ids) - room) for i in range(count)]
            return [ids[start : start + room] for start in starts]
        return [ids[: spec.head_tokens] + ids[len(ids) - (room - spec.head_tokens) :]]

    def pad(self, row: np.ndarray, length: int) -> dict[str, np.ndarray]:
        """Pad a row to the model's inputs.

        Args:
            row: `int32[n]`.
            length: at least n.

        Returns:
            `token_ids`, `padding_mask` and `segment_ids`, each `int32[1, length]`.
        """
        token_ids = np.full((1, length), self.pad_id, np.int32)
        token_ids[0, : len(row)] = row
        mask = (np.arange(length) < len(row)).astype(np.int32)[None]
        return {"token_ids": token_ids, "padding_mask": mask, "segment_ids": np.zeros_like(token_ids)}

    @classmethod
    def load(cls, folder: Path) -> LightTokenizer:
        """Read `vocab.txt` and `text.json`.

        Raises:
            ArtifactError: a file is missing or damaged.
        """
        return cls(*read_text_files(folder))


def _plain(text: str) -> str:
    """Cut a text to `MAX_BYTES`, drop halves of surrogate pairs, and replace HTML line breaks by spaces."""
    raw = text.encode("utf-8", "ignore")[:MAX_BYTES]
    return re.sub(HTML_BREAK, " ", raw.decode("utf-8", "ignore"))
