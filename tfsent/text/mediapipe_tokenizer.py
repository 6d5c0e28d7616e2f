"""MediaPipe's tokenizer, as an app's texts meet it: what it reads otherwise than the model's own tokenizer.

MediaPipe lower-cases ASCII and splits at ASCII white space, at punctuation and at CJK ideographs. It strips no accents,
cleans no control characters, and reads a word of more than 100 bytes as [UNK] (mediapipe/tasks/cc/text/tokenizers,
release 1.2.3). A text ends at a NUL. `for_mediapipe` is the function that an app calls first.
"""

from __future__ import annotations

import re
import string
import unicodedata
from collections.abc import Sequence
from dataclasses import replace

from tokenizers import Regex
from tokenizers import Tokenizer as Pipeline
from tokenizers.models import WordPiece
from tokenizers.pre_tokenizers import Sequence as Steps
from tokenizers.pre_tokenizers import Split

from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import HTML_BREAK, TextSpec

MAX_WORD_BYTES = 100
_LOWER = str.maketrans(string.ascii_uppercase, string.ascii_lowercase)
_IDEOGRAPHS = (
    r"\x{4E00}-\x{9FFF}\x{3400}-\x{4DBF}\x{20000}-\x{2A6DF}\x{2A700}-\x{2B73F}\x{2B740}-\x{2B81F}\x{2B820}-\x{2CEAF}"
    r"\x{F900}-\x{FAFF}\x{2F800}-\x{2FA1F}"
)
_ALONE = rf"[!-/:-@\[-`{{-~\p{{P}}{_IDEOGRAPHS}]"


def for_mediapipe(text: str, spec: TextSpec) -> str:
    """Return a text as an app gives it to MediaPipe: HTML line breaks become spaces; for an uncased vocabulary, NFD
    without combining marks, in lower case."""
    text = re.sub(HTML_BREAK, " ", text)
    if not spec.lowercase:
        return text
    plain = unicodedata.normalize("NFD", text)
    # Letter by letter, as BERT does it: in a whole word, the last sigma becomes another letter.
    return "".join(c.lower() for c in plain if unicodedata.category(c) != "Mn")


class MediaPipeTokenizer(LightTokenizer):
    """Texts → token ids, as MediaPipe's TextClassifier makes them. It keeps the head of a long text.

    Args:
        spec: the model's text specification.
        vocabulary: WordPiece tokens; the index is the id.
        normalized: whether the app calls `for_mediapipe` first.
    """

    def __init__(self, spec: TextSpec, vocabulary: Sequence[str], *, normalized: bool):
        super().__init__(replace(spec, truncation="head"), vocabulary)
        self.normalized = normalized
        self._words = Steps([Split(Regex(r"[ \t\n\f\r]+"), "removed"), Split(Regex(_ALONE), "isolated")])
        ids = {token: i for i, token in enumerate(vocabulary)}
        self._pieces = Pipeline(WordPiece(ids, unk_token="[UNK]", max_input_chars_per_word=MAX_WORD_BYTES))

    def tokenize(self, texts: Sequence[str]) -> list[list[int]]:
        """See `LightTokenizer`."""
        words = [self._split(text) for text in texts]
        encodings = self._pieces.encode_batch_fast(words, is_pretokenized=True, add_special_tokens=False)
        return [encoding.ids for encoding in encodings]

    def _split(self, text: str) -> list[str]:
        text = text.encode("utf-8", "ignore").decode("utf-8")
        if self.normalized:
            text = for_mediapipe(text, self.spec)
        text = text.partition("\0")[0].translate(_LOWER)  # whatever the casing of the vocabulary
        words = [word for word, _ in self._words.pre_tokenize_str(text)]
        return [word if len(word.encode()) <= MAX_WORD_BYTES else "\0" for word in words]  # which no vocabulary has
