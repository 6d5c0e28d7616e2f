"""The queue: turns, batches of like length, limits, and what becomes of requests nobody waits for."""

import asyncio
import threading

import numpy as np
import pytest

from tfsent.model.decision import Decision
from tfsent.serving.answers import Answers
from tfsent.serving.batcher import Batcher
from tfsent.serving.engine import Engine
from tfsent.serving.refusals import BusyError


class Echo(Engine):
    """Answers with the length of a text. `gate` holds it up; `batches` is what it was given."""

    label_names = ("odd", "even")
    logits = False
    tokenizer = None

    def __init__(self, batch=1):
        self.batch, self.batches, self.gate, self.begun = batch, [], threading.Event(), threading.Event()
        self.gate.set()

    def worker(self):
        def run(texts):
            self.batches.append(list(texts))
            self.begun.set()
            self.gate.wait(60)
            if "fail" in texts:
                raise RuntimeError("this text breaks the model")
            return Answers(self.label_names, np.array([[len(text), 0] for text in texts], np.float32))

        return run


def lengths(answers):
    return answers.probabilities[:, 0].tolist()


async def hold(engine, batcher):
    """Keep the one worker busy until the gate is opened."""
    engine.gate.clear()
    engine.begun.clear()
    ticket = batcher.submit(["held"])
    await asyncio.to_thread(engine.begun.wait, 60)
    return ticket


def test_the_decision_of_the_engine_comes_with_the_answers():
    async def main():
        engine = Echo()
        engine.decision = Decision(threshold=0.5)
        batcher = Batcher(engine, 1, 10, 0)
        assert (await batcher.submit(["a", "b"]).future).decision == engine.decision
        batcher.close()

    asyncio.run(main())


def test_each_request_gets_its_own_answers_in_its_order():
    async def main():
        batcher = Batcher(Echo(), 3, 10_000, 0)
        tickets = [batcher.submit(["x" * n, "x" * (n + 1)]) for n in range(200)]
        assert [lengths(await ticket.future) for ticket in tickets] == [[n, n + 1] for n in range(200)]
        batcher.close()
        assert batcher.waiting == 0

    asyncio.run(main())


class Wide(Echo):
    """Says which of its workers answered: 100 is added by the wide one."""

    def wide_worker(self):
        run = self.worker()
        return lambda texts: Answers(self.label_names, run(texts).probabilities + 100)


def test_a_text_that_is_alone_is_for_the_wide_worker_and_all_others_are_not():
    async def main():
        engine = Wide()
        batcher = Batcher(engine, 2, 100, 0)
        for _ in range(5):
            assert lengths(await batcher.submit(["a"]).future) == [101]
        held = await hold(engine, batcher)  # by the wide one
        busy = [batcher.submit(["b"]), batcher.submit(["c", "d"])]
        engine.gate.set()
        assert lengths(await held.future) == [104]
        assert [lengths(await ticket.future)[0] for ticket in busy] == [1, 1]
        batcher.close()

    asyncio.run(main())


def test_with_a_wide_worker_no_text_is_forgotten():
    async def main():
        batcher = Batcher(Wide(), 2, 10_000, 0)
        for round_ in range(200):
            tickets = [batcher.submit(["x"] * n) for n in range(1, 2 + round_ % 4)]
            batcher.drop(tickets[0])
            found = await asyncio.wait_for(asyncio.gather(*(ticket.future for ticket in tickets[1:])), 60)
            assert [len(lengths(one)) for one in found] == list(range(2, 2 + round_ % 4))
        await asyncio.to_thread(batcher.close)
        assert batcher.waiting == 0

    asyncio.run(main())


def test_requests_take_turns():
    async def main():
        engine = Echo()
        batcher = Batcher(engine, 1, 100, 0)
        await hold(engine, batcher)
        large, small = batcher.submit(["a", "aa", "aaa"]), batcher.submit(["b"])
        engine.gate.set()
        await asyncio.gather(large.future, small.future)
        assert engine.batches == [["held"], ["a"], ["b"], ["aa"], ["aaa"]]
        batcher.close()

    asyncio.run(main())


def test_texts_of_like_length_go_together():
    async def main():
        engine = Echo(batch=4)
        batcher = Batcher(engine, 1, 100, 0)
        await hold(engine, batcher)
        texts = [["a" * n] for n in (1000, 10, 20, 1500, 5000, 900)]
        tickets = [batcher.submit(one) for one in texts]
        engine.gate.set()
        assert [lengths(await ticket.future) for ticket in tickets] == [[len(one[0])] for one in texts]
        assert [sorted(map(len, batch)) for batch in engine.batches[1:]] == [[900, 1000, 1500], [10, 20], [5000]]
        batcher.close()

    asyncio.run(main())


def test_a_batch_has_no_more_texts_than_it_may():
    async def main():
        engine = Echo(batch=4)
        batcher = Batcher(engine, 2, 100, 0.001)
        ticket = batcher.submit(["a"] * 50)
        assert lengths(await ticket.future) == [1] * 50
        assert max(map(len, engine.batches)) <= 4
        batcher.close()

    asyncio.run(main())


def test_a_full_queue_refuses():
    async def main():
        engine = Echo()
        batcher = Batcher(engine, 1, 3, 0)
        held = await hold(engine, batcher)
        waiting = batcher.submit(["a", "b"])
        with pytest.raises(BusyError) as refusal:
            batcher.submit(["c", "d"])
        assert str(refusal.value) == "The queue is full: 2 texts wait, and at most 3 may. Ask again later."
        assert (refusal.value.http, refusal.value.headers) == (429, {"Retry-After": "1"})
        batcher.submit(["c"])
        engine.gate.set()
        await asyncio.gather(held.future, waiting.future)
        batcher.close()
        assert len(engine.batches) == 4

    asyncio.run(main())


def test_what_is_dropped_is_not_begun():
    async def main():
        engine = Echo()
        batcher = Batcher(engine, 1, 100, 0)
        held = await hold(engine, batcher)
        dropped, kept = batcher.submit(["d1", "d2"]), batcher.submit(["k"])
        batcher.drop(dropped)
        assert batcher.waiting == 1
        engine.gate.set()
        await asyncio.gather(held.future, kept.future)
        batcher.close()
        assert engine.batches == [["held"], ["k"]]

    asyncio.run(main())


def test_an_error_reaches_its_request_and_the_worker_goes_on():
    async def main():
        batcher = Batcher(Echo(), 1, 100, 0)
        broken = batcher.submit(["fine", "fail"])
        with pytest.raises(RuntimeError, match="this text breaks the model"):
            await broken.future
        assert lengths(await batcher.submit(["after"]).future) == [5]
        batcher.close()

    asyncio.run(main())


def test_closing_answers_what_is_in_the_queue():
    async def main():
        engine = Echo()
        batcher = Batcher(engine, 1, 100, 0)
        tickets = [await hold(engine, batcher), batcher.submit(["a", "b"])]
        closing = asyncio.create_task(asyncio.to_thread(batcher.close))
        await asyncio.sleep(0)
        engine.gate.set()
        await closing
        assert [lengths(await ticket.future) for ticket in tickets] == [[4], [1, 1]]

    asyncio.run(main())
