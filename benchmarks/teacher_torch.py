"""The part of benchmarks/teacher.py that runs in PyTorch: MPNet-base, its lower eight layers frozen.

    python benchmarks/teacher_torch.py MODEL_FOLDER WORK features|train|label

WORK holds texts.jsonl: a JSON object a line with `text`, `part` (train, validation, test, unlabelled) and `label`, a
class number or null. Nothing of tfsent is imported here. Each step continues after an interruption:

- `features`: token ids of all texts; what the frozen layers make of train and validation, bfloat16, a file of 8 GB.
- `train`: the upper four layers and a head, AdamW; the weights with the best validation accuracy are kept.
- `label`: probabilities of all texts, `probabilities.npy`, float32[texts, classes].
"""

from __future__ import annotations

import json
import math
import re
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from tokenizers import Tokenizer
from torch import nn
from transformers import MPNetModel
from transformers.models.mpnet.modeling_mpnet import MPNetSelfAttention

MAX_TOKENS, FROZEN, WIDTH = 256, 8, 768
BATCH_TOKENS = 8192
EPOCHS, LEARNING_RATE, WARMUP, DECAY, DROPOUT, SEED = 1, 5e-5, 0.1, 0.01, 0.1, 0
MINUTES = 5
"""Between two checkpoints."""


# --- texts ------------------------------------------------------------------------------------------------------------


class Texts:
    """Token ids of the texts, one after the other, and where each begins."""

    def __init__(self, model: Path, work: Path) -> None:
        rows = [json.loads(line) for line in (work / "texts.jsonl").open(encoding="utf-8")]
        self.parts = np.array([row["part"] for row in rows])
        self.labels = np.array([-1 if row["label"] is None else row["label"] for row in rows], np.int64)
        tokenizer = Tokenizer.from_file(str(model / "tokenizer.json"))
        tokenizer.no_truncation()
        tokenizer.no_padding()
        begin, end = tokenizer.token_to_id("<s>"), tokenizer.token_to_id("</s>")
        room, head = MAX_TOKENS - 2, (MAX_TOKENS - 2) // 2
        self.ids = []
        for i in range(0, len(rows), 1000):
            plain = [re.sub(r"<br\s*/?>", " ", row["text"]) for row in rows[i : i + 1000]]
            for found in tokenizer.encode_batch_fast(plain, add_special_tokens=False):
                ids = (
                    found.ids
                    if len(found.ids) <= room
                    else found.ids[:head] + found.ids[len(found.ids) - room + head :]
                )
                self.ids.append(np.array([begin, *ids, end], np.int64))
        self.lengths = np.array([len(row) for row in self.ids])

    def rows(self, *parts: str) -> np.ndarray:
        """Numbers of the texts of these parts, the shortest first."""
        found = np.flatnonzero(np.isin(self.parts, parts))
        return found[np.argsort(self.lengths[found], kind="stable")]

    def batches(self, rows: np.ndarray) -> Iterator[np.ndarray]:
        """Cut rows into batches of at most BATCH_TOKENS, padding included."""
        first, longest = 0, 0
        for i, row in enumerate(rows):
            longest = max(longest, self.lengths[row])
            if (i + 1 - first) * longest > BATCH_TOKENS:
                yield rows[first:i]
                first, longest = i, self.lengths[row]
        yield rows[first:]

    def padded(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Ids and mask of some texts, `int64[b, s]` and `bool[b, s]`. Padding has id 1."""
        mask = np.arange(self.lengths[rows].max()) < self.lengths[rows][:, None]
        ids = np.ones(mask.shape, np.int64)
        ids[mask] = np.concatenate([self.ids[row] for row in rows])
        return torch.from_numpy(ids), torch.from_numpy(mask)


# --- the model --------------------------------------------------------------------------------------------------------


def attend(self: MPNetSelfAttention, hidden: torch.Tensor, _: None, added: torch.Tensor, *__: object, **___: object):
    """Attention in one kernel, a third faster here, and without dropout of its weights, as in tfsent's own layers."""
    rows, length, _ = hidden.shape
    parts = (part(hidden).view(rows, length, self.num_attention_heads, -1) for part in (self.q, self.k, self.v))
    query, key, value = (part.transpose(1, 2) for part in parts)
    found = nn.functional.scaled_dot_product_attention(query, key, value, attn_mask=added.to(query.dtype))
    return (self.o(found.transpose(1, 2).reshape(rows, length, -1)),)


MPNetSelfAttention.forward = attend


class Teacher(nn.Module):
    """MPNet in two halves: the lower one frozen and in bfloat16, the upper one with a mean over tokens and a head."""

    def __init__(self, model: Path, classes: int) -> None:
        super().__init__()
        body = MPNetModel.from_pretrained(model, add_pooling_layer=False)
        self.embeddings = body.embeddings.bfloat16()
        self.lower = body.encoder.layer[:FROZEN].bfloat16()
        self.upper = body.encoder.layer[FROZEN:]
        self.bias = body.encoder.relative_attention_bias.requires_grad_(False)  # one for all layers
        self.bucket = body.encoder.compute_position_bias
        self.head = nn.Linear(WIDTH, classes)
        nn.init.normal_(self.head.weight, std=0.02)
        nn.init.zeros_(self.head.bias)
        for part in (self.embeddings, self.lower):
            part.eval().requires_grad_(False)

    def attention(self, mask: torch.Tensor, dtype: torch.dtype) -> torch.Tensor:
        """What is added to the scores: where the tokens are, and −1e4 for padding. `[b, heads, s, s]`."""
        places = self.bucket(torch.empty(1, mask.shape[1], 1))
        return (places + (~mask[:, None, None, :]) * -1e4).to(dtype)

    @torch.inference_mode()
    def features(self, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Hidden states after the frozen layers, `bfloat16[b, s, 768]`."""
        hidden, added = self.embeddings(input_ids=ids), self.attention(mask, torch.bfloat16)
        for layer in self.lower:
            hidden = layer(hidden, None, added)[0]
        return hidden

    def forward(self, hidden: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """Scores of the classes, `float32[b, classes]`, of what the frozen layers gave."""
        hidden, added = hidden.float(), self.attention(mask, torch.float32)
        with torch.autocast("cpu", torch.bfloat16):
            for layer in self.upper:
                hidden = layer(hidden, None, added)[0]
        weight = mask[..., None].float()
        pooled = (hidden.float() * weight).sum(1) / weight.sum(1)
        return self.head(nn.functional.dropout(pooled, DROPOUT, self.training))


class Features:
    """What the frozen layers made of train and validation, in one file on disk."""

    def __init__(self, work: Path, texts: Texts) -> None:
        self.path, self.done_path = work / "features.bf16", work / "features.done"
        self.texts, self.rows = texts, texts.rows("train", "validation")
        self.start = np.zeros(len(texts.ids), np.int64)
        self.start[self.rows] = np.cumsum(texts.lengths[self.rows]) - texts.lengths[self.rows]
        shape = (int(texts.lengths[self.rows].sum()), WIDTH)
        mode = "r+" if self.path.exists() else "w+"
        self.data = np.memmap(self.path, np.uint16, mode, shape=shape)

    def make(self, teacher: Teacher) -> None:
        batches = list(self.texts.batches(self.rows))
        done = int(self.done_path.read_text()) if self.done_path.exists() else 0
        clock = Progress("features", sum(map(len, batches)), sum(map(len, batches[:done])))
        for i in range(done, len(batches)):
            ids, mask = self.texts.padded(batches[i])
            hidden = teacher.features(ids, mask)[mask]
            first = self.start[batches[i][0]]
            self.data[first : first + len(hidden)] = hidden.view(torch.uint16).numpy()
            clock.add(len(batches[i]))
            if i % 20 == 19 or i == len(batches) - 1:
                self.data.flush()
                self.done_path.write_text(str(i + 1))

    def padded(self, rows: np.ndarray) -> tuple[torch.Tensor, torch.Tensor]:
        """Hidden states and mask of some texts, `bfloat16[b, s, 768]` and `bool[b, s]`."""
        lengths = self.texts.lengths[rows]
        hidden = np.zeros((len(rows), lengths.max(), WIDTH), np.uint16)
        for i, (row, length) in enumerate(zip(rows, lengths, strict=True)):
            hidden[i, :length] = self.data[self.start[row] : self.start[row] + length]
        mask = np.arange(lengths.max()) < lengths[:, None]
        return torch.from_numpy(hidden).view(torch.bfloat16), torch.from_numpy(mask)


class Progress:
    """Prints a line a minute: how many texts, how many a second."""

    def __init__(self, name: str, total: int, done: int = 0) -> None:
        self.name, self.total, self.done, self.first = name, total, done, done
        self.began = self.said = time.monotonic()

    def add(self, count: int, more: str = "") -> None:
        self.done += count
        now = time.monotonic()
        if now - self.said > 60 or self.done == self.total:
            self.said = now
            rate = (self.done - self.first) / (now - self.began)
            print(f"{self.name}: {self.done:,} of {self.total:,} texts, {rate:.1f} a second {more}", flush=True)


# --- the steps --------------------------------------------------------------------------------------------------------


def mixed(texts: Texts, rows: np.ndarray, rng: np.random.Generator) -> list[np.ndarray]:
    """Batches in random order, of texts of like length: wherever it is cut, what went before is a fair sample."""
    rows = rng.permutation(rows)
    chunks = [rows[i : i + 2048] for i in range(0, len(rows), 2048)]
    found = [b for chunk in chunks for b in texts.batches(chunk[np.argsort(texts.lengths[chunk], kind="stable")])]
    return [found[i] for i in rng.permutation(len(found))]


def train(teacher: Teacher, texts: Texts, features: Features, work: Path) -> None:
    """Train the upper layers; keep the best weights in best.pt."""
    trained = {name: p for name, p in teacher.named_parameters() if p.requires_grad}
    decayed = [p for p in trained.values() if p.ndim > 1]
    groups = [
        {"params": decayed, "weight_decay": DECAY},
        {"params": [p for p in trained.values() if p.ndim == 1], "weight_decay": 0.0},
    ]
    optimizer = torch.optim.AdamW(groups, lr=LEARNING_RATE)
    rng = np.random.default_rng(SEED)
    batches = [batch for _ in range(EPOCHS) for batch in mixed(texts, texts.rows("train"), rng)]
    saved = work / "checkpoint.pt"
    state = {"step": 0, "best": 0.0}
    if saved.exists():
        state = torch.load(saved, weights_only=False)
        teacher.load_state_dict(state["weights"], strict=False)
        optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["rng"])
    clock = Progress("train", sum(map(len, batches)), sum(map(len, batches[: state["step"]])))
    kept, loss_sum = time.monotonic(), 0.0
    teacher.upper.train()
    for step in range(state["step"], len(batches)):
        fraction = (step + 1) / len(batches)
        rate = LEARNING_RATE * min(fraction / WARMUP, (1 - fraction) / (1 - WARMUP) + 1e-6)
        for group in optimizer.param_groups:
            group["lr"] = rate
        scores = teacher(*features.padded(batches[step]))
        loss = nn.functional.cross_entropy(scores, torch.from_numpy(texts.labels[batches[step]]))
        optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(trained.values(), 1.0)
        optimizer.step()
        loss_sum = 0.98 * loss_sum + 0.02 * loss.item()
        clock.add(len(batches[step]), f"loss {loss_sum:.3f}")
        if (step + 1) % (len(batches) // (2 * EPOCHS)) == 0 or step + 1 == len(batches):
            accuracy = validate(teacher, texts, features)
            print(f"step {step + 1:,} of {len(batches):,}: validation {accuracy:.2%}", flush=True)
            if accuracy > state["best"]:
                state["best"] = accuracy
                torch.save({name: p.detach() for name, p in trained.items()}, work / "best.pt")
        if time.monotonic() - kept > 60 * MINUTES:
            kept = time.monotonic()
            state |= {"step": step + 1, "rng": torch.get_rng_state(), "optimizer": optimizer.state_dict()}
            state["weights"] = {name: p.detach() for name, p in trained.items()}
            torch.save(state, saved.with_suffix(".new"))
            saved.with_suffix(".new").replace(saved)


@torch.inference_mode()
def validate(teacher: Teacher, texts: Texts, features: Features) -> float:
    """Accuracy on the validation texts."""
    teacher.eval()
    rows = texts.rows("validation")
    right = [
        (teacher(*features.padded(batch)).argmax(-1).numpy() == texts.labels[batch]).sum()
        for batch in texts.batches(rows)
    ]
    teacher.train()
    return float(sum(right) / len(rows))


@torch.inference_mode()
def label(teacher: Teacher, texts: Texts, features: Features, work: Path) -> None:
    """Write the probabilities of all texts; NaN for those that are not labelled yet."""
    teacher.load_state_dict(torch.load(work / "best.pt"), strict=False)
    teacher.eval()
    path, kept = work / "probabilities.npy", set(features.rows.tolist())
    found = np.load(path) if path.exists() else np.full((len(texts.ids), teacher.head.out_features), np.nan, np.float32)
    for part in ("validation", "train", "unlabelled", "test"):
        rows = texts.rows(part)
        rows = rows[np.isnan(found[rows, 0])]
        clock = Progress(f"label {part}", len(rows))
        for i, batch in enumerate(mixed(texts, rows, np.random.default_rng(SEED))):
            if batch[0] in kept:
                hidden, mask = features.padded(batch)
            else:
                ids, mask = texts.padded(batch)
                hidden = teacher.features(ids, mask)
            found[batch] = teacher(hidden, mask).softmax(-1).numpy()
            clock.add(len(batch))
            if i % 50 == 49:
                np.save(path, found)
        np.save(path, found)
        rows = texts.rows(part)
        if (texts.labels[rows] >= 0).all():
            right = found[rows].argmax(-1) == texts.labels[rows]
            error = math.sqrt(right.mean() * (1 - right.mean()) / len(rows))
            print(f"{part}: {right.mean():.2%} ± {error:.2%} of {len(rows):,}", flush=True)


def main() -> None:
    """Run the step that the command line names, and what comes before it."""
    model, work, step = Path(sys.argv[1]), Path(sys.argv[2]), sys.argv[3]
    torch.manual_seed(SEED)
    texts = Texts(model, work)
    teacher = Teacher(model, int(texts.labels.max()) + 1)
    features = Features(work, texts)
    if step == "features":
        features.make(teacher)
    elif step == "train":
        train(teacher, texts, features, work)
    else:
        label(teacher, texts, features, work)


if __name__ == "__main__":
    main()
