"""URIs → folders through the real client of each hub, which finds a local copy in its own cache."""

import json
import shutil
import sys
from pathlib import Path

import huggingface_hub
import huggingface_hub.constants
import kagglehub
import pytest
from tiny import VOCABULARY, write_encoder, write_preset

from tfsent.encoders import hubs, tfhub
from tfsent.encoders.loader import load_encoder
from tfsent.encoders.report import check_encoder
from tfsent.errors import AssetError, EncoderError

COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.fixture(autouse=True)
def own_caches(tmp_path, monkeypatch):
    for name in ("TFSENT_CACHE", "TFHUB_CACHE_DIR", "KAGGLEHUB_CACHE"):
        monkeypatch.setenv(name, str(tmp_path / name))
    monkeypatch.setattr(huggingface_hub.constants, "HF_HUB_CACHE", str(tmp_path / "hf"))
    monkeypatch.delenv("TFSENT_OFFLINE", raising=False)


def hugging_face_cache(tmp_path, repository="owner/name", commit=COMMIT):
    """Write what huggingface_hub's cache holds after a download."""
    folder = tmp_path / "hf" / f"models--{repository.replace('/', '--')}"
    (folder / "refs").mkdir(parents=True, exist_ok=True)
    (folder / "refs" / "main").write_text(commit)
    return write_encoder(folder / "snapshots" / commit)


def kaggle_cache(tmp_path, handle, write):
    """Write what kagglehub's cache holds after a download."""
    folder = tmp_path / "KAGGLEHUB_CACHE" / "models" / handle
    write(folder)
    (folder.parent / f"{folder.name}.complete").touch()
    return folder


def test_hugging_face_model_is_pinned_to_its_commit(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_OFFLINE", "1")  # huggingface_hub then reads its cache alone
    folder = hugging_face_cache(tmp_path)
    encoder = load_encoder("hf:owner/name")
    assert encoder.vocabulary == tuple(VOCABULARY)
    assert encoder.provenance["revision"] == COMMIT
    assert Path(encoder.provenance["folder"]) == folder
    # A newer commit in the cache changes nothing: the record says what hf:owner/name means here.
    hugging_face_cache(tmp_path, commit="f" * 40)
    assert load_encoder("hf:owner/name").provenance["revision"] == COMMIT
    assert load_encoder(f"hf:owner/name@{'f' * 40}").provenance["revision"] == "f" * 40


def test_only_files_without_code_are_requested(tiny_encoder, monkeypatch):
    asked = {}
    monkeypatch.setattr(
        huggingface_hub, "snapshot_download", lambda name, **options: asked.update(options) or str(tiny_encoder)
    )
    load_encoder("hf:owner/name@v2")
    assert asked["revision"] == "v2"
    assert not [name for name in asked["allow_patterns"] if name.endswith((".bin", ".pkl", ".py", ".pt", "*"))][1:]
    assert "model.safetensors" in asked["allow_patterns"]


def test_kaggle_handle_works_offline_from_its_cache(tmp_path, monkeypatch):
    folder = kaggle_cache(tmp_path, "o/bert/tensorFlow2/tiny/2", write_encoder)
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    encoder = load_encoder("kaggle:o/bert/tensorFlow2/tiny/2")
    assert (encoder.provenance["revision"], encoder.provenance["folder"]) == ("2", str(folder))
    monkeypatch.delenv("TFSENT_OFFLINE")
    monkeypatch.setattr(kagglehub, "model_download", lambda handle: str(folder))
    assert load_encoder("kaggle:o/bert/tensorFlow2/tiny").provenance["revision"] == "2"


def test_keras_preset_comes_from_kaggle(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_OFFLINE", "1")

    def write(folder):
        write_preset(folder, "Bert", vocabulary_size=len(VOCABULARY), hidden_dim=8, max_sequence_length=64)

    kaggle_cache(tmp_path, "keras/bert/keras/bert_tiny_en_uncased/3", write)
    encoder = load_encoder("keras:bert_tiny_en_uncased")
    assert (encoder.provenance["format"], encoder.provenance["revision"]) == ("keras-hub", "3")
    assert encoder.lowercase is True


def test_emptied_cache_is_filled_with_the_recorded_revision(tmp_path, monkeypatch):
    folder, asked = tmp_path / "fetched" / "2", []

    def fetch(name, revision=None, **options):
        asked.append(f"{name}@{revision}" if options else name)
        return str(write_encoder(folder))

    monkeypatch.setattr(huggingface_hub, "snapshot_download", fetch)
    monkeypatch.setattr(kagglehub, "model_download", fetch)
    for uri in ("hf:owner/name", "kaggle:o/bert/tensorFlow2/tiny"):
        load_encoder(uri)
        shutil.rmtree(folder)
        load_encoder(uri)
    assert asked == [
        "owner/name@None",
        "owner/name@2",
        "o/bert/tensorFlow2/tiny",
        "o/bert/tensorFlow2/tiny/2",
    ]


def test_fetched_files_are_recorded(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    folder = hugging_face_cache(tmp_path)
    uri = "hf:owner/name"
    assert not hubs.cached(uri)
    encoder = load_encoder(uri)
    assert hubs.cached(uri)
    path = hubs.record_path(uri)
    record = json.loads(path.read_text())
    assert record["files"] == encoder.provenance["files"]
    path.write_text(json.dumps({**record, "fingerprint": [0.5]}))  # as tfsent 0.1 wrote it
    assert check_encoder(uri).recorded == "same"
    assert {path.name for path in hubs.record_path(uri).parent.iterdir()} == {hubs.record_path(uri).name}
    (folder / "README.md").write_text("not read, so it may change")
    load_encoder(uri)


def test_hugging_face_folder_opens_without_tensorflow_text(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    hugging_face_cache(tmp_path)
    with monkeypatch.context() as barred:
        barred.setitem(sys.modules, "tensorflow_text", None)
        encoder = load_encoder("hf:owner/name")
    record = hubs.read_record("hf:owner/name")
    assert record["files"] == encoder.provenance["files"]
    assert check_encoder("hf:owner/name").recorded == "same"


@pytest.mark.parametrize("name", ["model.safetensors", "vocab.txt", "config.json"])
def test_changed_file_is_an_error(tmp_path, monkeypatch, name):
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    folder = hugging_face_cache(tmp_path)
    load_encoder("hf:owner/name")
    with (folder / name).open("ab") as out:
        out.write(b"\n")
    with pytest.raises(EncoderError, match=f"hf:owner/name changed since it was fetched: .*{name}. Expected"):
        load_encoder("hf:owner/name")


def test_hub_with_other_files_is_an_error(tmp_path, tiny_encoder, monkeypatch):
    places = [tiny_encoder, write_encoder(tmp_path / "other", hidden_act="gelu_new")]
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: str(places.pop(0)))
    load_encoder("hf:owner/name")
    with pytest.raises(EncoderError, match="received .* To accept the change, delete .*hf-owner-name-"):
        load_encoder("hf:owner/name", ask_hub=True)


def test_damaged_record_is_named(tmp_path):
    path = hubs.record_path("hf:owner/name")
    path.parent.mkdir(parents=True)
    path.write_text('{"uri": 1')
    with pytest.raises(EncoderError, match=f"{path} is damaged: .* Delete it to fetch hf:owner/name anew"):
        load_encoder("hf:owner/name")


def test_unusable_encoder_is_not_recorded(tmp_path, monkeypatch):
    folder = write_encoder(tmp_path / "cased", [*VOCABULARY[:-1], "Film"])
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: str(folder))
    with pytest.raises(EncoderError, match="its vocabulary has capitals"):
        load_encoder("hf:owner/name")
    assert hubs.is_new("hf:owner/name")


def test_own_folders_are_not_recorded(tiny_encoder):
    load_encoder(f"path:{tiny_encoder}")
    assert not hubs.record_path(f"path:{tiny_encoder}").exists()
    assert hubs.record_path("hf:a/b") != hubs.record_path("hf:a-b")


@pytest.mark.parametrize(
    ("uri", "message"),
    [
        ("minilm", "Unknown encoder 'minilm'. Expected pypi:minilm-l6, hf:OWNER/NAME"),
        ("pypi:nothing", "Unknown encoder 'pypi:nothing'. Expected pypi:minilm-l6"),
        ("path:", "Unknown encoder 'path:'"),
        ("kagle:a/b", "`tfsent encoders ls` lists some.* Did you mean kaggle:…?"),
        ("keras:bert_tiny_en", "not a preset of BERT, .* in KerasHub. Did you mean keras:bert_tiny_en_uncased?"),
        (
            "keras:qqq",
            "keras:qqq is not a preset of BERT, DistilBERT or ELECTRA in KerasHub. Expected one of: all_minilm",
        ),
        (
            "kaggle:kaggle://o/bert/tensorFlow2/tiny",
            "kaggle:kaggle://o/bert/tensorFlow2/tiny is not a handle. Expected",
        ),
        ("kaggle:google/bert", "kaggle:google/bert is not a handle. Expected OWNER/MODEL/FRAMEWORK/VARIATION"),
    ],
)
def test_unknown_encoders_are_refused(uri, message):
    with pytest.raises(EncoderError, match=message):
        load_encoder(uri)


@pytest.mark.parametrize(
    "uri",
    [
        "hf:owner/name",
        "keras:bert_tiny_en_uncased",
        "kaggle:o/bert/tensorFlow2/tiny/2",
        "kaggle:o/bert/tensorFlow2/tiny",
        "tfhub:google/bert/1",
    ],
)
def test_offline_forbids_hubs(monkeypatch, uri):
    monkeypatch.setenv("TFSENT_OFFLINE", "1")
    with pytest.raises(AssetError, match="TFSENT_OFFLINE.*path:DIR with a local copy"):
        load_encoder(uri)


def test_unreachable_hub_is_a_clear_error(monkeypatch):
    def refuse(*words, **options):
        raise ConnectionError("nobody there")

    monkeypatch.setattr(huggingface_hub, "snapshot_download", refuse)
    monkeypatch.setattr(kagglehub, "model_download", refuse)
    for uri in ("hf:owner/name", "kaggle:o/bert/tensorFlow2/tiny/2"):
        with pytest.raises(AssetError, match=f"{uri} could not be fetched: nobody there. Is the hub reachable"):
            load_encoder(uri)


def test_tf_hub_handle_is_recorded(tiny_encoder, monkeypatch):
    """test_tfhub.py has the rest of tfhub: handles."""
    monkeypatch.setattr(tfhub, "resolve", lambda handle: tiny_encoder)
    assert load_encoder("tfhub:https://x/y").provenance["uri"] == "tfhub:https://x/y"
    assert hubs.cached("tfhub:https://x/y")
