"""The batch plan: every review once an epoch, within the budget, the same every time."""

import itertools

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tiny import VOCABULARY

from tfsent.errors import DataError
from tfsent.storage.row_store import RowStore
from tfsent.text.batch_plan import MOST_SHAPES, PADDING, BatchPlan, Shapes, bucket_lengths, xla_bucket_lengths
from tfsent.text.feed import token_loader
from tfsent.text.spec import TextSpec
from tfsent.text.token_store import Tokens, tokenize_all
from tfsent.text.tokenizer import Tokenizer

LENGTHS = st.lists(st.integers(2, 64), min_size=1, max_size=300).map(np.array)


@given(LENGTHS, st.integers(64, 600), st.integers(0, 5), st.integers(1, 4))
@settings(deadline=None, max_examples=50)
def test_every_row_is_in_one_batch_of_every_epoch_and_the_budget_holds(lengths, budget, seed, epochs):
    plan = BatchPlan(lengths, budget, seed=seed, epochs=epochs)
    for epoch in range(epochs):
        batches = plan.epoch(epoch)
        assert len(batches) == plan.steps
        assert sorted(np.concatenate([rows for rows, _ in batches])) == list(range(len(lengths)))
        for rows, length in batches:
            assert len(rows)
            assert len(rows) * length <= budget
            assert lengths[rows].max() <= length


def test_epochs_differ_and_a_seed_repeats_them():
    lengths = np.random.default_rng(0).integers(5, 60, 500)
    plan, same = (BatchPlan(lengths, 512, seed=1, epochs=2) for _ in range(2))

    def flat(plan, epoch):
        return [rows.tolist() for rows, _ in plan.epoch(epoch)]

    assert flat(plan, 1) == flat(same, 1)
    assert plan.fingerprint() == same.fingerprint()
    assert flat(plan, 0) != flat(plan, 1)
    other, longer = BatchPlan(lengths, 512, seed=2), BatchPlan(lengths, 512, seed=1, shapes=Shapes((64,)))
    assert flat(plan, 0) != flat(other, 0)
    assert len({plan.fingerprint(), other.fingerprint(), longer.fingerprint()}) == 3


@pytest.mark.parametrize(("batch_tokens", "max_tokens"), [(4096, 128), (8192, 256), (8192, 512), (32768, 256)])
@pytest.mark.parametrize("jit", [False, True])
def test_padding_is_under_5_percent_on_lengths_like_those_of_reviews(batch_tokens, max_tokens, jit):
    lengths = np.minimum(np.random.default_rng(0).lognormal(5.4, 0.6, 25_000).astype(int) + 2, max_tokens)
    shapes = Shapes(xla_bucket_lengths(lengths, max_tokens) if jit else bucket_lengths(max_tokens), full=jit)
    assert BatchPlan(lengths, batch_tokens, seed=0, shapes=shapes).padding() < 0.05


@given(LENGTHS, st.integers(64, 130))
@settings(deadline=None, max_examples=50)
def test_few_lengths_are_the_fewest_that_pad_little(lengths, max_tokens):
    found = xla_bucket_lengths(lengths, max_tokens)
    candidates = np.array([*range(8, max_tokens, 8), max_tokens])
    assert list(found) == sorted(set(found)) and set(found) <= set(candidates.tolist()) and found[-1] == max_tokens

    def tokens(chosen):
        return np.array(chosen)[np.searchsorted(chosen, lengths)].sum()

    fewest = tokens(candidates)
    for n in range(len(candidates)):
        fewest = min(tokens([*some, max_tokens]) for some in itertools.combinations(candidates[:-1].tolist(), n))
        if fewest * (1 - PADDING) <= lengths.sum():
            break
    assert tokens(found) == fewest
    assert len(found) == n + 1 or tokens(found) * (1 - PADDING) > lengths.sum()


def test_a_review_over_the_budget_is_refused():
    with pytest.raises(DataError, match="train.batch_tokens is 32, and one review takes 40 tokens"):
        BatchPlan(np.array([40]), 32)


def test_xla_gives_1_to_8_devices_the_same_batches_with_hardly_a_row_of_padding():
    lengths = np.minimum(np.random.default_rng(0).lognormal(5.4, 0.6, 25_000).astype(int) + 2, 512)
    one, *more = (
        BatchPlan(
            lengths, 8192, seed=0, shapes=Shapes(xla_bucket_lengths(lengths, 512), full=True, rows_multiple=devices)
        )
        for devices in (1, 2, 4, 8)
    )
    for plan in more:
        pairs = zip(one.epoch(0), plan.epoch(0), strict=True)
        assert all(rows.tolist() == others.tolist() for (rows, _), (others, _) in pairs)
        assert plan.padding() == one.padding() < 0.05
        assert plan.fingerprint() == one.fingerprint()


def make_tokens(lengths, first=0):
    spool = RowStore()
    for ids in np.split(np.arange(first, first + lengths.sum(), dtype=np.int32), np.cumsum(lengths)[:-1]):
        spool.append(ids.tobytes())
    return Tokens(spool, lengths, np.arange(len(lengths)), lengths)


def test_padding_is_masked_and_tokens_are_in_place():
    tokens = make_tokens(np.array([3, 0, 2]), first=1)
    batch = tokens.pad(np.array([2, 0, 1]), 4, 9)
    assert batch["token_ids"].tolist() == [[4, 5, 9, 9], [1, 2, 3, 9], [9, 9, 9, 9]]
    assert batch["padding_mask"].sum(axis=1).tolist() == [2, 3, 0]
    assert batch["token_ids"].dtype == np.int32


def test_tokenising_all_is_tokenising_each():
    tokenizer = Tokenizer(TextSpec(True, 8), VOCABULARY)
    texts = ["good film", "", "bad bad bad bad bad bad bad bad", "a\ud800b"] * 3
    tokens = tokenize_all(tokenizer, texts, batch=5)
    assert len(tokens) == 12
    assert tokens.lengths.tolist() == [4, 2, 8, tokens.lengths[3]] * 3
    assert tokens.owner.tolist() == list(range(12))
    assert len(tokenize_all(tokenizer, [])) == 0


def test_windows_keep_their_review_through_batches_and_averages():
    tokenizer = Tokenizer(TextSpec(True, 5, truncation="windows", window_overlap=0.34), VOCABULARY)
    texts = ["good film", "bad " * 8, "", "good bad film it"] * 2
    tokens = tokenize_all(tokenizer, texts, batch=3)
    one = [tokenize_all(tokenizer, [text]) for text in texts]
    assert tokens.owner.tolist() == [i for i, part in enumerate(one) for _ in range(len(part))]
    assert np.bincount(tokens.owner).tolist() == [1, 4, 1, 2] * 2
    assert [tokens[i].tolist() for i in range(len(tokens))] == [p[i].tolist() for p in one for i in range(len(p))]
    assert tokens.review_lengths.tolist() == [2, 8, 0, 4] * 2
    order = np.random.default_rng(1).permutation(len(tokens))
    assert sum(tokens.reviews_begun(rows) for rows in np.split(order, [3, 7])) == 8


def test_the_dataset_is_the_plan_from_any_step():
    lengths = np.random.default_rng(0).integers(2, 20, 40)
    tokens = make_tokens(lengths)
    labels = np.arange(40, dtype=np.int32)
    plan = BatchPlan(lengths, 96, seed=0, epochs=2)
    whole = token_loader(tokens, labels, plan, 0).tensorflow()
    assert whole.cardinality() == plan.steps
    assert [y.numpy().tolist() for _, y in whole] == [rows.tolist() for rows, _ in plan.epoch(0)]
    assert all((x["token_ids"].numpy()[0, 0] == tokens[int(y[0])][0]) for x, y in whole)
    position = [1, 3]
    feed = token_loader(tokens, labels, plan, 0, position=lambda: tuple(position))
    moving = feed.tensorflow()
    expected = [rows.tolist() for rows, _ in plan.epoch(1)[3:]]
    assert [y.numpy().tolist() for _, y in moving] == expected
    batches = feed.keras()
    assert [batches[i][1].tolist() for i in range(len(batches))] == expected
    position[:] = 0, 0
    assert len(list(moving)) == plan.steps


@given(LENGTHS, st.integers(64, 600), st.integers(1, 4), st.booleans(), st.sampled_from([1, 2]))
@settings(deadline=None, max_examples=50)
def test_rows_of_padding_change_no_mean(lengths, budget, multiple, full, processes):
    few = xla_bucket_lengths(lengths, 64)
    shapes = Shapes(few, full=full, rows_multiple=multiple * processes)
    plan = BatchPlan(lengths, budget, seed=3, shapes=shapes)
    tokens = make_tokens(lengths)
    values = np.random.default_rng(0).random(len(lengths))
    feeds = [
        token_loader(tokens, np.arange(len(lengths)), plan, 9, position=lambda: (0, 0), shard=(i, processes))
        for i in range(processes)
    ]
    made = [[make() for make in feed.batches()] for feed in feeds]
    seen = {shape for feed in made for shape in {batch[0]["token_ids"].shape for batch in feed}}
    assert all(rows % multiple == 0 for rows, _ in seen)
    if full:
        assert len(seen) == len({length for _, length in seen}) <= len(few) <= MOST_SHAPES
    for (rows, _), *parts in zip(plan.epoch(0), *made, strict=True):
        inputs = {name: np.concatenate([part[0][name] for part in parts]) for name in parts[0][0]}
        labels, weights = (np.concatenate([part[i] for part in parts]) for i in (1, 2 if shapes.padded else 1))
        if not shapes.padded:
            weights = np.ones(len(labels))
        assert labels[: len(rows)].tolist() == rows.tolist()
        assert np.mean(weights * values[labels]) == pytest.approx(values[rows].mean(), rel=1e-5)
        assert inputs["padding_mask"].any(axis=1).all()
        assert (inputs["token_ids"][len(rows) :] == 9).all()


def test_in_evaluation_the_mean_over_all_batches_is_that_over_all_reviews():
    lengths = np.random.default_rng(0).integers(2, 64, 101)
    plan = BatchPlan(lengths, 300, shapes=Shapes((24, 64), rows_multiple=2))
    values = np.random.default_rng(1).random(101)
    made = [make() for make in token_loader(make_tokens(lengths), np.arange(101), plan, 0).batches()]
    means = [np.mean(weights * values[labels]) for _, labels, weights in made]
    assert np.average(means, weights=[len(labels) for _, labels, _ in made]) == pytest.approx(values.mean(), rel=1e-6)
