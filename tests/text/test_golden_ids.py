"""Golden ids: no text may get other ids unless `TOKENIZER_VERSION` is raised, because ids are cached under it.

The digests were made from ids that equal those of Hugging Face (`test_tokenizer.py`).
`PYTHONPATH=. python tests/text/test_golden_ids.py` prints them again.
"""

import hashlib

import pytest
import tensorflow as tf

from tfsent.text.spec import SPECIAL_TOKENS, TOKENIZER_VERSION, TextSpec
from tfsent.text.tokenizer import Tokenizer

LETTERS = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
OTHERS = (
    "éÉßẞſıİςσΣυίΥΊφΦοΟǅǆǄКкино日本の映画한각ㄱ\u1100\u1112\u1161\u11a8\u11abकिีดيلمفجدסרטוב،ﬁﬀｇｏｄ！＄５☃☺😀👩🚀🏽"
    "!?,.'\"-–—…’“”$#@/<>&;:()[]\u0301\u0308\u0344\u0323\u302e\U0001d165\u0378\U000e0080"
)
ALPHABET = list(LETTERS + OTHERS)
WORDS = ["good", "Good", "film", "bad", "it", "un", "##like", "##ly", "the", "movie", "naive", "naïve", "café"]
VOCABULARY = [*SPECIAL_TOKENS, "[MASK]", *WORDS, *ALPHABET, *(f"##{c}" for c in ALPHABET)]
SPECS = [
    TextSpec(lowercase, 11, *settings)
    for lowercase in (True, False)
    for settings in (("head",), ("tail",), ("head_tail", 0.3), ("head_tail", 0.5), ("windows", 0.3, 0.3))
]
"""`max_tokens=11` leaves room for 9, so that 0.3 is rounded up and 0.5 down."""
GOLDEN = {
    "plain": "1576a75ec808",
    "long": "d48b16bf7396",
    "fits exactly": "fc52af67c855",
    "one too many": "f928eb5b2929",
    "empty": "828c8707a4a0",
    "spaces": "828c8707a4a0",
    "upper case": "cd1f93876b15",
    "accents": "87c98491da19",
    "decomposed": "34e8b6a0fd4c",
    "html breaks": "cbf4726c7976",
    "punctuation": "9909da52c9d2",
    "typographic": "4e9e2e27661d",
    "special tokens": "fe8ae66cf231",
    "digits": "fe55d18624a2",
    "cjk": "3dfc571e0879",
    "hangul": "aac86ad7ada6",
    "indic": "9f663ab66532",
    "thai": "706363c79386",
    "greek": "e40629044e5d",
    "turkish": "81d67b199660",
    "eszett": "89ec26ea1e15",
    "titlecase digraph": "1a90e8801f37",
    "cyrillic": "297cfe444a50",
    "arabic": "37fe56fc0679",
    "hebrew": "32593439ac04",
    "emoji": "a28e98f6aa5d",
    "zero width": "b87820303ef2",
    "controls": "90c806e17ccc",
    "spaces of unicode": "150157e291ae",
    "private use": "f1e99a6e5ab1",
    "unassigned": "69687d837a0e",
    "tone marks": "68703b4a3895",
    "fullwidth": "84e5e0ea8cd8",
    "ligatures": "476d1e99eee9",
    "word of 100": "e97ae18dea9b",
    "word of 101": "b71f33350d4d",
    "accented word of 101": "b71f33350d4d",
    "hyphenated": "e3dadc93c748",
    "invalid utf-8": "597306af35ec",
    "more windows than allowed": "208f760cdcc9",
    "more bytes than allowed": "d9d2d967eb40",
}


def digest(text):
    """A hash of the version and of the rows of ids that each specification makes of a text."""
    rows = [tokenizer(tf.constant([text])) for tokenizer in TOKENIZERS]
    ids = [(row.ids.to_list(), row.lengths.numpy().tolist()) for row in rows]
    return hashlib.sha256(f"{TOKENIZER_VERSION} {ids}".encode()).hexdigest()[:12]


TEXTS = {
    "plain": "It was a good film, and the movie is unlikely bad.",
    "long": "good film bad it the movie " * 12,
    "fits exactly": "a b c d e f g h i",
    "one too many": "a b c d e f g h i j",
    "empty": "",
    "spaces": " \t\r\n\v\f ",
    "upper case": "GOOD FILM, Unlikely THE MOVIES",
    "accents": "naïve café É é go\u0301od",
    "decomposed": "cafe\u0301 nai\u0308ve a\u0344 o\u0308\u0323",
    "html breaks": "good<br />film<BR>bad<br\t/>it<br\r>s<br\f/>un<br/ >the<br",
    "punctuation": 'it\'s "good"... (un-like) #1 @home 5/5 & <b>bad</b>; $9.99!?',
    "typographic": "it’s “good” – bad — the… movie",
    "special tokens": "[CLS] good [SEP] [PAD] [UNK] [MASK]",
    "digits": "10/10 2024 3.14159 1,000",
    "cjk": "日本good日本の映画",
    "hangul": "한각 각 ㄱ good",
    "indic": "कि की good",
    "thai": "ดี good",
    "greek": "ΣΊΣΥΦΟΣ σς Σ",
    "turkish": "İstanbul ışık I i",
    "eszett": "straße STRASSE ẞ ſ",
    "titlecase digraph": "ǅ ǆ Ǆ",
    "cyrillic": "Кино кино",
    "arabic": "فيلم جيد، good",
    "hebrew": "\u200fסרט טוב\u200e good",
    "emoji": "☃ 😀 👩🏽‍🚀 good☺",
    "zero width": "go\u200bod\ufefffi\u2060lm\u00ad the",
    "controls": "go\x00od \x07film\x1f bad\x7f \x85it",
    "spaces of unicode": "good\u00a0film\u3000bad\u2003it\u2028the\u1680movie",
    "private use": "go\ue000od \U000f0000 \U0010fffd \ufffd",
    "unassigned": "good \u0378 \U000e0080 film",
    "tone marks": "\U0001d165 \u302e good",
    "fullwidth": "ｇｏｏｄ！ ＄５",
    "ligatures": "ﬁlm ﬀ",
    "word of 100": "a" * 100 + " good",
    "word of 101": "a" * 101 + " good",
    "accented word of 101": "é" * 101 + " good",
    "hyphenated": "-".join("good" for _ in range(40)),
    "invalid utf-8": b"go\xffod \xc3 \xed\xa0\x80 film\xf4\x90\x80\x80",
    "more windows than allowed": "a b c d e f g " * 60,
    "more bytes than allowed": "good " * 199_999 + " films bad it",
}
TOKENIZERS = [Tokenizer(spec, VOCABULARY) for spec in SPECS]


@pytest.mark.parametrize("name", TEXTS)
def test_ids_change_only_with_the_version(name):
    assert digest(TEXTS[name]) == GOLDEN[name], (
        f"The ids of the text {name!r}, or TOKENIZER_VERSION, changed. Ids are cached under that version, and exported "
        "models rely on them. If the change is not meant, undo it. If it is, raise TOKENIZER_VERSION in "
        f"tfsent/text/spec.py and put the output of `PYTHONPATH=. python tests/text/test_golden_ids.py` into GOLDEN."
    )


if __name__ == "__main__":
    print("\n".join(f'    "{name}": "{digest(text)}",' for name, text in TEXTS.items()))
