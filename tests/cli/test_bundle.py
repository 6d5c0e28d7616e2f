"""`tfsent bundle`, and the commands that take what it wrote."""

import hashlib
import json
import shutil
import zipfile

import pytest
from command_line import call


@pytest.fixture(scope="module")
def bundled(exported, tmp_path_factory):
    path = tmp_path_factory.mktemp("bundles") / "tiny.tfsent.zip"
    return path, call("bundle", exported, "-o", path)


def test_size_files_and_digest_are_printed(bundled):
    path, printed = bundled
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    files = len(zipfile.ZipFile(path).namelist()) - 1
    assert printed == f"{path}: {path.stat().st_size / 1e6:,.1f} MB, {files} files, SHA-256 {digest}\n"


def test_json_and_the_hint_on_licences(exported, tmp_path):
    found = json.loads(call("bundle", exported, "-o", tmp_path / "a.zip", "--json"))
    assert set(found) == {"path", "bytes", "files", "sha256", "unknown_licences"}
    assert found["unknown_licences"] == ["encoder"]
    said = call("bundle", exported, "-o", tmp_path / "a.zip", "--overwrite", stderr=True)
    assert f"The licence of the encoder is not known. To state it: write {exported}/LICENSES.md, and bundle" in said


def test_errors_are_one_message(exported, tiny_run, tmp_path, bundled):
    path, out = bundled[0], tmp_path / "a.zip"
    assert f"Error: {path} exists already. Pass --overwrite to replace it.\n" == call(
        "bundle", exported, "-o", path, code=1
    )
    assert "was not exported, and a bundle holds what was proved. First: tfsent export" in call(
        "bundle", tiny_run, "-o", out, code=1
    )
    assert "Error: No run at nowhere" in call("bundle", "nowhere", "-o", out, code=1)
    assert "Expected a name that ends with .tfsent.zip. Received: a.tar\n" in call(
        "bundle", exported, "-o", "a.tar", code=1
    )
    shutil.copy(path, out)
    with out.open("r+b") as handle:
        handle.truncate(5000)
    for words in (["predict", out, "good"], ["evaluate", out], ["bench", out], ["serve", out]):
        assert f"Error: {out} cannot be opened as a bundle: it has 5,000 bytes, and by its manifest" in call(
            *words, code=1
        )
    assert "is not a run of tfsent" in call("export", path, code=1)
    assert "is not a run of tfsent" in call("bundle", path, "-o", tmp_path / "b.zip", code=1)


def test_predict_and_evaluate_take_a_bundle(bundled, tmp_path):
    path = bundled[0]
    assert "positive" in call("predict", path, "great superb lovely good fine film")
    assert "60 reviews" in call("evaluate", path)
    (tmp_path / "new.csv").write_text("text,label\ngreat superb lovely good,positive\nawful dull poor bad,negative\n")
    assert "2 reviews" in call("evaluate", path, "--data", tmp_path / "new.csv")
    call("predict", path, "--data", tmp_path / "new.csv", "--output", tmp_path / "out.csv")
    assert len((tmp_path / "out.csv").read_text().splitlines()) == 3
