"""Asks Hugging Face `tokenizers` what BERT makes of each code point.

    python tests/unicode_reference.py      writes tfsent/text/code_points.npz anew

`tests/text/test_code_points.py` compares the file with the installed version.
"""

from functools import cache
from pathlib import Path

import numpy as np
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from tfsent.text.code_points import ALONE, CODE_POINTS, DROP, KEEP, MAPPED, SPACE

TARGET = Path(__file__).parent.parent / "tfsent" / "text" / "code_points.npz"
SURROGATES = range(0xD800, 0xE000)
split = BertPreTokenizer().pre_tokenize_str


@cache
def parts(character):
    """1: inside a word; 2: white space; 3: a word of its own."""
    return len(split(f"a{character}a"))


def output(normalizer, code_point):
    """The code points that one becomes, words of their own with spaces around them."""
    if code_point in SURROGATES:
        return ()  # they do not occur in UTF-8
    spelt = {1: "{}", 2: " ", 3: " {} "}
    text = "".join(spelt[parts(c)].format(c) for c in normalizer.normalize_str(chr(code_point)))
    return tuple(map(ord, text))


def reference(lowercase):
    """`kinds uint8[0x110000]`, and of those MAPPED `lengths uint8[n]` and `values int32[sum of lengths]`."""
    normalizer = BertNormalizer(
        clean_text=True, handle_chinese_chars=True, strip_accents=lowercase, lowercase=lowercase
    )
    kinds, lengths, values = np.zeros(CODE_POINTS, np.uint8), [], []
    for c in range(CODE_POINTS):
        out = output(normalizer, c)
        shapes = {(c,): KEEP, (): DROP, (32,): SPACE, (32, c, 32): ALONE}
        kinds[c] = shapes.get(out, MAPPED)
        if kinds[c] == MAPPED:
            lengths.append(len(out))
            values.extend(out)
    return {"kinds": kinds, "lengths": np.array(lengths, np.uint8), "values": np.array(values, np.int32)}


def reference_tables():
    """All arrays of the file, by name."""
    return {
        f"{name}_{key}": value
        for name, lowercase in (("uncased", True), ("cased", False))
        for key, value in reference(lowercase).items()
    }


if __name__ == "__main__":
    np.savez_compressed(TARGET, **reference_tables())
    print(f"{TARGET}: {TARGET.stat().st_size / 1e3:.0f} kB")
