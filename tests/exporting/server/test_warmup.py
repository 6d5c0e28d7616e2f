"""The warm-up records of a SavedModel."""

from tfsent.exporting.server.warmup import BATCHES, read_warmup


def test_the_records_have_several_lengths_and_batch_sizes_and_every_signature(exported):
    records = read_warmup(exported / "export/serving/1/assets.extra")
    assert len(records) <= 1000  # a server refuses more
    predicts = [record.predict_log.request for record in records if record.HasField("predict_log")]
    texts = [list(r.inputs["text"].string_val) for r in predicts if r.model_spec.signature_name == "serving_default"]
    assert {len(batch) for batch in texts} == set(BATCHES)
    assert len({len(text) for batch in texts for text in batch}) >= 4
    assert any(not text.isascii() for batch in texts for text in batch)
    assert {r.model_spec.signature_name for r in predicts} == {"serving_default", "tokens", "info"}
    (classify,) = [record.classify_log.request for record in records if record.HasField("classify_log")]
    assert classify.model_spec.signature_name == "classify"
