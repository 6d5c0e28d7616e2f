"""Recipes: defaults, overrides, and every fault reported at once."""

import re

import pydantic
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tfsent.errors import ConfigError
from tfsent.recipe import loader
from tfsent.recipe.loader import load_config, to_yaml
from tfsent.recipe.schema import Config


@pytest.fixture
def recipe(tmp_path):
    def write(text):
        path = tmp_path / "mine.yaml"
        path.write_text(text, encoding="utf-8")
        return path

    return write


@pytest.mark.parametrize("name", sorted(loader.recipes()))
def test_every_shipped_recipe_is_valid_and_says_what_it_is_for(name):
    assert load_config(name)
    assert len(loader.describe_recipe(loader.find_recipe(name))) > 20


def test_the_resolved_recipe_reads_back_as_itself(tmp_path):
    resolved = load_config("quickstart", ["train.seed=7", "model.hidden_units=[16, 8]"])
    path = tmp_path / "config.yaml"
    path.write_text(to_yaml(resolved), encoding="utf-8")
    assert load_config(path) == resolved


@given(st.lists(st.one_of(st.text(min_size=1), st.from_regex(r"[-+]?\.?\d+\.?\d*[eE]\d+", fullmatch=True)), min_size=2))
def test_any_label_survives_the_resolved_recipe(tmp_path_factory, labels):
    """Seen with the label 7E5, which came back as a number."""
    resolved = Config(data={"labels": sorted(set(labels)) if len(set(labels)) > 1 else ["7E5", "no"]})
    path = tmp_path_factory.getbasetemp() / "config.yaml"
    path.write_text(to_yaml(resolved), encoding="utf-8")
    assert load_config(path) == resolved


def test_an_empty_recipe_is_the_defaults(recipe):
    assert load_config(recipe("")) == Config()


def test_a_section_with_nothing_in_it_is_the_defaults(recipe):
    assert load_config(recipe("train:\n  # epochs: 3\ntext:\n"), ["train.epochs=4"]).train.epochs == 4
    path = recipe("export:\n  mobile:\n    # max_flips: 0.5\n")
    assert load_config(path) == Config()
    assert load_config(path, ["export.mobile.max_flips=0.02"]).export.mobile.max_flips == 0.02


def test_scientific_notation_is_a_number_as_in_yaml_1_2(recipe):
    assert load_config(recipe("train:\n  learning_rate: 6e-5\n")).train.learning_rate == 6e-5
    assert load_config("smoke", ["train.learning_rate=1E-3"]).train.learning_rate == 1e-3


def test_overrides_are_laid_over_the_recipe_in_order(recipe):
    path = recipe("train:\n  epochs: 5\n")
    changed = load_config(path, ["train.epochs=2", "train.epochs=3", "text.truncation=tail", "data.dir=/a=b"])
    assert (changed.train.epochs, changed.text.truncation, changed.data.dir) == (3, "tail", "/a=b")


def test_a_config_cannot_be_changed():
    with pytest.raises(pydantic.ValidationError):
        Config().train.epochs = 3


def test_a_glob_needs_no_quotes_of_yaml():
    assert load_config("imdb", ["data.source=csv", "data.train=*.csv"]).data.train == ("*.csv",)


@pytest.mark.parametrize("uri", ["pypi:minilm-l6#layers=0,2,4", "path:/data/c#/bert", "run:runs/#1#layers=5"])
def test_an_encoder_may_have_layers_chosen(recipe, uri):
    assert load_config("imdb", [f"encoder={uri}"]).encoder == uri
    resolved = recipe(f"encoder: {uri}\n")
    assert load_config(resolved).encoder == uri
    assert load_config(recipe(to_yaml(load_config(resolved)))).encoder == uri


@pytest.mark.parametrize("folder", ["2024-06-01", "2020-13-45"])
def test_a_folder_may_be_called_like_a_day(folder):
    assert load_config("smoke", [f"data.dir={folder}"]).data.dir == folder


def test_every_fault_is_reported_at_once(recipe):
    path = recipe("train:\n  epoch: 2\n  dropout: 3\ntext:\n  max_tokens: many\n  truncation: middle\nencodr: x\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    for part in (
        "train.epoch: unknown key. Did you mean 'epochs'?",
        "train.dropout: unknown key.",
        "text.max_tokens: Input should be a valid integer. Received: 'many'.",
        "text.truncation: Input should be 'head', 'tail', 'head_tail' or 'windows'. Received: 'middle'.",
        "encodr: unknown key. Did you mean 'encoder'?",
    ):
        assert part in message


def test_every_removed_key_says_why(recipe):
    """With the other faults, so that a recipe of an earlier version needs mending once."""
    path = recipe("train:\n  ema_momentum: 0.99\n  layer_decay: 0.9\n  schedule: cosine\n  guards: true\n  epochs: 0\n")
    with pytest.raises(ConfigError) as caught:
        load_config(path)
    message = str(caught.value)
    for key in ("ema_momentum", "layer_decay", "schedule"):
        assert re.search(rf"train.{key} was removed: .* gained nothing beyond noise .* Delete the key\.\n", message)
    assert "train.guards was removed: training stops only at a loss that is not a number" in message
    assert "train.epochs: Input should be greater than or equal to 1" in message


@pytest.mark.parametrize(
    "name", ["a.csv", "a.JSONL", "b.parquet", "c.tar.gz", "reviews.zip/train", "sms.txt", "folder"]
)
def test_data_in_place_of_a_recipe_names_the_way(tmp_path, name):
    (tmp_path / "folder").mkdir()
    (tmp_path / "sms.txt").touch()
    (tmp_path / "reviews.zip").touch()
    assert loader.is_data(str(tmp_path / name))
    with pytest.raises(ConfigError, match=f"{name} is data, not a recipe. .* --set data.train=.*{name}"):
        load_config(tmp_path / name)


@pytest.mark.parametrize("name", ["imdb", "mine.yaml", "mine.yml", "qickstart", "a.csv.yaml"])
def test_a_recipe_is_not_data(tmp_path, name):
    (tmp_path / "mine.yaml").touch()
    assert not loader.is_data(name)


def test_files_replace_the_source_of_a_recipe():
    config = load_config("imdb", ["data.dir=/data", "data.train=my.csv"]).data
    assert (config.source, config.train, config.dir) == ("files", ("my.csv",), None)
    assert load_config({"data": {"train": "my.csv"}}).data.source == "files"
    assert load_config("imdb", ["data.source=tsv", "data.train=my.csv"]).data.source == "tsv"
    assert load_config(load_config("imdb", ["data.train=a.csv"]), ["data.train=b.csv"]).data.train == ("b.csv",)
    assert load_config("imdb", ["data.train=null"]).data.source == "imdb"


def test_columns_and_labels_may_be_numbers():
    config = load_config("imdb", ["data.train=a.csv", "data.text=0", "data.label=1", "data.header=[0, x]"]).data
    assert (config.text, config.label, config.header) == ("0", "1", ("0", "x"))


def test_a_backslash_and_a_tab_can_be_given():
    config = load_config("imdb", ["data.train=a.csv", "data.escape=\\", 'data.delimiter="\\t"']).data
    assert (config.escape, config.delimiter) == ("\\", "\t")
    with pytest.raises(
        ConfigError, match="data.encoding: unknown encoding 'utf8x'. Expected one such as utf-8, latin-1"
    ):
        load_config("imdb", ["data.encoding=utf8x"])


@pytest.mark.parametrize(
    ("setting", "message"),
    [
        ("export.mobile.max_flip=1", "Did you mean 'max_flips'?"),
        ("export.budget.int8_flips=1", "was removed: it is called export.mobile.max_flips"),
        ("export.serving.min_server=2.11", "expected one of 2.12, 2.13, 2.14, 2.15, 2.16, 2.17, 2.18, 2.19, 2.20"),
        ("train.epochs=true", "train.epochs: Input should be a valid integer. Received: True."),
        ("train.epochs=2.5", "valid integer"),
        ("train.epochs=0", "greater than or equal to 1"),
        ("train.learning_rate=0", "greater than 0"),
        ("model.dropout=1", "less than 1"),
        ("model.hidden_units=[8, none]", "model.hidden_units.1"),
        ("encoder=", "encoder: Input should be a valid string"),
        (
            "encoder=bert-base-uncased",
            "encoder: expected pypi:minilm-l6, hf:OWNER/NAME[@REVISION], keras:PRESET, kaggle:HANDLE, tfhub:HANDLE,",
        ),
        ("encoder=path:#layers=0", "encoder: expected pypi:minilm-l6, hf:OWNER/NAME[@REVISION]"),
        (
            "encoder=pypi:minilm-l6#layers=last",
            "encoder: expected numbers of layers after #layers=, counted from 0, such as #layers=0,2,4. Received: "
            "'pypi:minilm-l6#layers=last'.",
        ),
        ("encoder=run:a#layers=", "encoder: expected numbers of layers after #layers=, counted from 0, such as"),
        ("encoder=run:a#layers=1,1", "encoder: layer 1 is listed twice; expected each layer once, such as #layers="),
        ("encoder=run:a#layers=2,0", "encoder: expected the layers in the order of the checkpoint, #layers=0,2."),
        ("encoder=hf:a/b#layer=0", "encoder: expected nothing after # but the layers to take, such as #layers=0,2,4."),
        ("data.test_examples=0", "data.test_examples: expected a whole number of reviews above 0, or a share"),
        ("data.test_examples=1.5", "data.test_examples: expected a whole number of reviews above 0, or a share"),
        ("data.test_examples=many", "expected a number of reviews such as 2000, or a share of them such as 0.1"),
        ("data.source=cvs", "data: unknown source 'cvs'. Did you mean 'csv'?"),
        ("data.source=csv", "data: source csv needs data.train, the file or files to learn from"),
        ("data.test=my.csv", "data: source imdb-wheel has its own reviews; data.test is for files, csv, tsv, jsonl"),
        ("data.group=film", "data: source imdb-wheel has no columns, so data.group cannot name one"),
        ("data.labels=[a, a]", "data.labels: the label 'a' is listed twice"),
        ("data.labels=[a]", "data.labels: Expected at least 2 of them. Received: ['a']."),
        ("epochs=1", "epochs: unknown key. Did you mean 'train.epochs'?"),
        ("train.class_weight=heavy", "train.class_weight: expected balanced, or a weight above 0 for each label"),
        ("train.class_weight={a: 0}", "train.class_weight: expected balanced, or a weight above 0 for each label"),
        ("model.hidden_units=64", "model.hidden_units: Input should be a list, such as [64]. Received: 64."),
        ("train.devices=0", "train.devices: Expected auto, cpu, gpu, gpu:0,1 or tpu. Received: 0."),
        ("data.dir=!!int x", "--set data.dir=!!int x: the value is not valid YAML: invalid literal for int"),
        ("train=3", "train: Input should be a section with keys. Received: 3."),
        ("train.epochs", "--set expects section.key=value"),
        (".epochs=1", "--set expects section.key=value"),
        ("encoder.name=x", "'encoder' is a value and not a section"),
        ("train.epochs=[1", "the value is not valid YAML"),
    ],
)
def test_a_bad_override_is_named(setting, message):
    with pytest.raises(ConfigError, match=".*") as caught:
        load_config("quickstart", [setting])
    assert message in str(caught.value)
    assert ".." not in str(caught.value)


def test_a_file_that_is_no_recipe_is_not_printed_whole(tmp_path):
    path = tmp_path / "recipe.yaml"
    path.write_text("- word\n" * 999)
    with pytest.raises(ConfigError, match="expected sections such as `train:`. Received: .'word', 'word', ") as caught:
        load_config(path)
    assert len(str(caught.value)) < 300


def test_an_unknown_recipe_suggests_the_nearest_one():
    with pytest.raises(ConfigError, match="No recipe is called 'quickstat'. Did you mean 'quickstart'?"):
        load_config("quickstat")
    with pytest.raises(ConfigError, match="No recipe file at 'no/such.yaml'"):
        load_config("no/such.yaml")


@pytest.mark.parametrize(
    ("text", "message"),
    [("a: [", "is not valid YAML"), ("- a\n- b\n", "expected sections"), ("3", "expected sections")],
)
def test_what_is_no_recipe_is_refused(recipe, text, message):
    with pytest.raises(ConfigError, match=message):
        load_config(recipe(text))


def test_a_recipe_that_is_not_utf_8_is_refused(tmp_path):
    path = tmp_path / "latin.yaml"
    path.write_bytes("encoder: caf\xe9".encode("latin-1"))
    with pytest.raises(ConfigError, match="is not valid YAML"):
        load_config(path)


def test_own_files_take_three_keys(tmp_path):
    settings = ["data.source=csv", "data.train=my.csv", "data.validation_examples=0.2"]
    data = load_config("imdb", settings).data
    assert (data.source, data.train, data.validation_examples) == ("csv", ("my.csv",), 0.2)
    assert load_config("imdb", [*settings, "data.train=[a.csv, b.csv]"]).data.train == ("a.csv", "b.csv")
    with pytest.raises(
        ConfigError, match="validation_examples is how many to take out of train; data.validation names"
    ):
        load_config("imdb", [*settings, "data.validation=b.csv"])


def test_labels_may_look_like_numbers_or_like_yes_and_no():
    settings = ["data.source=csv", "data.train=my.csv"]
    assert load_config("imdb", [*settings, "data.labels=[1, 2, 3]"]).data.labels == ("1", "2", "3")
    assert load_config("imdb", [*settings, "data.labels=[no, yes]"]).data.labels == ("no", "yes")
    weighted = load_config("imdb", [*settings, "train.class_weight={0: 1, 1: 2.5}"]).train
    assert weighted.class_weight == {"0": 1.0, "1": 2.5}


def test_a_duplicate_key_is_refused(tmp_path):
    path = tmp_path / "twice.yaml"
    path.write_text("train:\n  epochs: 2\n  seed: 1\n  epochs: 3\n")
    with pytest.raises(ConfigError, match='(?s)twice.yaml is not valid YAML: .*duplicate key "epochs".*line 4'):
        load_config(path)


@pytest.mark.parametrize(("written", "release"), [("2.20", "2.20"), ("2.2", "2.20"), ('"2.15"', "2.15")])
def test_a_release_of_a_server_may_look_like_a_number(written, release):
    config = load_config("smoke", [f"export.serving.min_server={written}"])
    assert config.export.serving.min_server == release
