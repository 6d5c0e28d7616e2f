"""Requests of clients become the same call, whatever their form."""

import numpy as np

from tfsent.exporting.server.requests import calls_of_clients, calls_of_warmup

TEXTS = [b"fine", 'café <br /> "quoted" \\ '.encode(), b""]


def test_every_form_carries_the_same_texts():
    calls = calls_of_clients(TEXTS)
    assert len(calls) == 6
    for name, call in calls.items():
        if call.signature == "serving_default":
            assert call.inputs["text"].tolist() == TEXTS, name


def test_examples_carry_the_texts():
    import tensorflow as tf

    call = calls_of_clients(TEXTS)["a gRPC Classify request"]
    assert call.signature == "classify"
    found = [tf.train.Example.FromString(raw) for raw in call.inputs["inputs"]]
    assert [example.features.feature["text"].bytes_list.value[0] for example in found] == TEXTS


def test_warm_up_records_become_calls(exported):
    calls = calls_of_warmup(exported / "export/serving/1/assets.extra")
    assert {call.signature for call in calls.values()} == {"serving_default", "tokens", "classify", "info"}
    tokens = next(call for call in calls.values() if call.signature == "tokens")
    assert {value.dtype for value in tokens.inputs.values()} == {np.dtype(np.int32)}
