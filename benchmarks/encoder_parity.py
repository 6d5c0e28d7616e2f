"""Every checkpoint layout against the implementation it comes from: the same reviews, the largest difference.

    python benchmarks/encoder_parity.py [--work DIR] [--json FILE]

Makes three environments with pip (about 5 GB in DIR, kept for the next time; TensorFlow 2.12 needs Python 3.8 to 3.11):
PyTorch with transformers; tf-models-official 2.19 with its own TensorFlow; TensorFlow 2.12 with tf-models-official 2.2.
The real MiniLM weights go through transformers' converter to Google's bert_model.ckpt, from there through
tf-models-official's converter and exporter to TF-Hub's SavedModels, of 2020 and of 2025. DistilBERT and ELECTRA, whose
weights no package index has, are random ones that transformers made. Nothing of tfsent is imported in those
environments: each runs its own checkpoint by its own code and writes down what it gave.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import subprocess
import sys
import types
from pathlib import Path

import numpy as np

HERE = Path(__file__).resolve()
REVIEWS, LENGTH = 8, 128
TF_MODELS = ["tf-models-official==2.19.1", "tf-keras==2.19.0", "safetensors"]
TF_2_12 = ["tensorflow-cpu==2.12.1", "gin-config", "tensorflow-hub==0.16.1", "typing_extensions"]
GOOGLE_CONFIG = {"hidden_act": "gelu", "hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12}
GOOGLE_CONFIG |= {"num_hidden_layers": 6, "max_position_embeddings": 512, "type_vocab_size": 2, "vocab_size": 30522}
GOOGLE_CONFIG |= {"hidden_dropout_prob": 0.1, "attention_probs_dropout_prob": 0.1, "initializer_range": 0.02}


# --- run in the environment with PyTorch and transformers -------------------------------------------------------------


def step_transformers(minilm: str, out: str) -> None:
    import torch
    import transformers as t

    real = t.AutoModel.from_pretrained(minilm)
    sizes = {"vocab_size": 30522, "initializer_range": 0.1}
    electra = {"num_hidden_layers": 3, "num_attention_heads": 4, "intermediate_size": 512}
    models = {"bert": real}
    for name, change in {"gelu_new": {"hidden_act": "gelu_new"}, "epsilon": {"layer_norm_eps": 1e-3}}.items():
        changed = t.BertModel(t.BertConfig(**{**real.config.to_dict(), **change}))
        changed.load_state_dict(real.state_dict())
        models[name] = changed
    masked = t.BertForMaskedLM(real.config)
    masked.bert.load_state_dict(real.state_dict(), strict=False)
    models["masked-lm"] = masked
    distilbert = {"dim": 192, "hidden_dim": 768, "n_heads": 6, "n_layers": 3}
    models["distilbert"] = t.DistilBertModel(t.DistilBertConfig(**sizes, **distilbert))
    for name, width in {"electra-base": 256, "electra-small": 64}.items():
        models[name] = t.ElectraModel(t.ElectraConfig(**sizes, **electra, hidden_size=256, embedding_size=width))
    batch = np.load(Path(out) / "batch.npz")
    for name, model in models.items():
        folder = Path(out) / f"hf-{name}"
        model.save_pretrained(folder)
        shutil.copy(Path(minilm) / "vocab.txt", folder)
        with torch.no_grad():
            inner = model.eval().bert if name == "masked-lm" else model.eval()
            given = inner(torch.tensor(batch["ids"]), attention_mask=torch.tensor(batch["mask"]))
        pooled = getattr(given, "pooler_output", None)
        np.savez(
            Path(out) / f"hf-{name}.npz",
            sequence=given.last_hidden_state.numpy(),
            **({} if pooled is None else {"pooled": pooled.numpy()}),
        )


# --- run in the environments with tf-models-official ------------------------------------------------------------------


def step_google(minilm: str, out: str, converter: str) -> None:
    """MiniLM → bert_model.ckpt, by the converter that came with transformers 4.30 (written for TensorFlow 1)."""
    import importlib.util

    import tensorflow as tf
    from safetensors.numpy import load_file

    v1 = tf.compat.v1
    v1.disable_eager_execution()
    set_value = lambda variable, value: variable.load(value, v1.get_default_session())  # noqa: E731
    v1.keras = types.SimpleNamespace(backend=types.SimpleNamespace(set_value=set_value))
    sys.modules["tensorflow"], kept = v1, tf
    sys.modules["torch"] = types.ModuleType("torch")
    sys.modules["transformers"] = types.SimpleNamespace(BertModel=object)
    spec = importlib.util.spec_from_file_location("converter", converter)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    sys.modules["tensorflow"] = kept
    arrays = load_file(Path(minilm) / "model.safetensors")
    state = {k: types.SimpleNamespace(numpy=lambda v=v: v) for k, v in arrays.items() if "position_ids" not in k}
    folder = Path(out) / "google"
    module.convert_pytorch_checkpoint_to_tf(types.SimpleNamespace(state_dict=lambda: state), str(folder), "bert_model")
    _add_heads(v1, str(folder / "bert_model.ckpt"))
    (folder / "bert_config.json").write_text(json.dumps(GOOGLE_CONFIG))
    (Path(out) / "uncased").mkdir(exist_ok=True)  # the exporters guess the casing by the path
    for target in (folder, Path(out) / "uncased"):
        shutil.copy(Path(minilm) / "vocab.txt", target)


def _add_heads(v1: types.ModuleType, checkpoint: str) -> None:
    """Google's checkpoints hold the heads of pre-training and the step; MiniLM's has none: random ones."""
    reader = v1.train.load_checkpoint(checkpoint)
    arrays = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    rng, h, v = np.random.default_rng(0), GOOGLE_CONFIG["hidden_size"], GOOGLE_CONFIG["vocab_size"]
    shapes = {"transform/dense/kernel": (h, h), "transform/dense/bias": (h,), "output_bias": (v,)}
    shapes |= {"transform/LayerNorm/gamma": (h,), "transform/LayerNorm/beta": (h,)}
    heads = {f"cls/predictions/{name}": rng.normal(size=shape) for name, shape in shapes.items()}
    heads |= {"cls/seq_relationship/output_weights": rng.normal(size=(2, h))}
    heads |= {"cls/seq_relationship/output_bias": rng.normal(size=2)}
    v1.reset_default_graph()
    with v1.Session() as session:
        for name, array in (arrays | heads).items():
            v1.get_variable(name, initializer=array.astype(np.float32))
        v1.get_variable("global_step", initializer=np.int64(7))
        session.run(v1.global_variables_initializer())
        v1.train.Saver().save(session, checkpoint)


def step_old(package: str, *arguments: str) -> None:
    """A command of tf-models-official 2.2 under TensorFlow 2.12, which has no keras.engine.network any more."""
    import tensorflow as tf

    network = types.ModuleType("network")
    network.Network = tf.keras.Model
    sys.modules["tensorflow.python.keras.engine.network"] = network
    sys.path.insert(0, package)
    sys.argv = list(arguments)
    import runpy

    runpy.run_module(arguments[0], run_name="__main__", alter_sys=True)


def step_savedmodel(out: str, name: str) -> None:
    import tensorflow as tf

    batch = np.load(Path(out) / "batch.npz")
    model = tf.saved_model.load(str(Path(out) / name))
    inputs = [tf.constant(array, tf.int32) for array in (batch["ids"], batch["mask"], np.zeros_like(batch["ids"]))]
    if "2020" in name:  # a list in, a list out
        pooled, sequence = model(inputs)
    else:
        given = model(dict(zip(("input_word_ids", "input_mask", "input_type_ids"), inputs, strict=True)))
        pooled, sequence = given["pooled_output"], given["sequence_output"]
    np.savez(Path(out) / f"{name}.npz", sequence=sequence.numpy(), pooled=pooled.numpy())


# --- run here ---------------------------------------------------------------------------------------------------------


def in_environment(python: str, step: str, *arguments: object, log: Path) -> None:
    keep = ("PATH", "HOME", "LANG", "TMPDIR")
    clean = {name: os.environ[name] for name in keep if name in os.environ} | {"TF_CPP_MIN_LOG_LEVEL": "3"}
    with log.open("a") as out:
        command = [python, str(HERE), "--step", step, *map(str, arguments)]
        if subprocess.run(command, stdout=out, stderr=out, env=clean, cwd=log.parent, check=False).returncode:
            sys.exit(f"{step} failed; see {log}")


def make_references(work: Path, minilm: Path) -> None:
    from peers import environment

    out, log = work / "out", work / "log.txt"
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir(parents=True)
    np.savez(out / "batch.npz", **real_batch(minilm))
    torch = environment(work / "torch", ["torch==2.13.0", "transformers>=5,<6", "safetensors", "numpy"])
    in_environment(torch, "transformers", minilm, out, log=log)
    new = environment(work / "tf-models", TF_MODELS)
    old = environment(work / "tf-2.12", TF_2_12)
    for name, wheel in {"transformers-4": "transformers==4.30.2", "tf-models-2.2": "tf-models-official==2.2.0"}.items():
        if not (work / name).exists():
            command = [new, "-m", "pip", "install", "--quiet", "--no-deps", "--target", work / name, wheel]
            subprocess.run(command, check=True)
    converter = work / "transformers-4/transformers/models/bert/convert_bert_pytorch_checkpoint_to_original_tf.py"
    in_environment(new, "google", minilm, out, converter, log=log)
    config = f"--bert_config_file={out}/google/bert_config.json"
    source = f"--checkpoint_to_convert={out}/google/bert_model.ckpt"
    vocabulary = f"--vocab_file={out}/uncased/vocab.txt"
    convert, export = "official.nlp.tools.tf2_bert_encoder_checkpoint_converter", "official.nlp.tools.export_tfhub"
    for name, kind in {"tf-hub-2025": "model", "tf-hub-2025-mlm": "model_with_mlm"}.items():
        what = "pretrainer" if "mlm" in name else "encoder"
        converted = [f"--converted_model={what}", f"--checkpoint_model_name={what}"]
        target = f"--converted_checkpoint_path={out}/{name}-ckpt/bert"
        in_environment(new, "old", "", convert, config, source, target, *converted, log=log)
        checkpoint = f"--model_checkpoint_path={out}/{name}-ckpt/bert-1"
        place = f"--export_path={out}/{name}"
        in_environment(new, "old", "", export, config, checkpoint, vocabulary, place, f"--export_type={kind}", log=log)
        in_environment(new, "savedmodel", out, name, log=log)
    (out / "tf-hub-2020-ckpt" / "temp_v1").mkdir(parents=True)
    package, nlp = work / "tf-models-2.2", "official.nlp.bert"
    target = f"--converted_checkpoint_path={out}/tf-hub-2020-ckpt/bert"
    in_environment(old, "old", package, f"{nlp}.tf2_encoder_checkpoint_converter", config, source, target, log=log)
    checkpoint, place = f"--model_checkpoint_path={out}/tf-hub-2020-ckpt/bert-1", f"--export_path={out}/tf-hub-2020"
    in_environment(old, "old", package, f"{nlp}.export_tfhub", config, checkpoint, vocabulary, place, log=log)
    in_environment(old, "savedmodel", out, "tf-hub-2020", log=log)
    shutil.copy(out / "tf-hub-2025.npz", out / "google.npz")  # tf-models-official's own BERT on Google's checkpoint


def real_batch(minilm: Path) -> dict[str, np.ndarray]:
    from tfsent.data.reading import load_parts
    from tfsent.recipe.schema import DataConfig
    from tfsent.text.spec import TextSpec, read_vocabulary
    from tfsent.text.tokenizer import Tokenizer

    texts = load_parts(DataConfig(source="imdb-wheel"))["train"].texts
    tokenizer = Tokenizer(TextSpec(lowercase=True, max_tokens=LENGTH), read_vocabulary(minilm / "vocab.txt"))
    rows = tokenizer([texts[i * 997] for i in range(REVIEWS - 1)] + ["Loved it."]).ids
    ids = rows.to_tensor().numpy()
    return {"ids": ids, "mask": (np.arange(ids.shape[1]) < rows.row_lengths().numpy()[:, None]).astype(np.int32)}


def compare(out: Path, name: str) -> dict[str, object]:
    from tfsent.encoders.loader import load_encoder

    batch, theirs = np.load(out / "batch.npz"), np.load(out / f"{name}.npz")
    encoder = load_encoder(f"path:{out / name}")
    inputs = {"token_ids": batch["ids"], "segment_ids": np.zeros_like(batch["ids"]), "padding_mask": batch["mask"]}
    ours = encoder.backbone(inputs, training=False)
    real = batch["mask"][..., None]
    found = {"sequence_output": np.abs((ours["sequence_output"].numpy() - theirs["sequence"]) * real).max()}
    if "pooled" in theirs:
        found["pooled_output"] = np.abs(ours["pooled_output"].numpy() - theirs["pooled"]).max()
    row = {"checkpoint": name, "format": encoder.provenance["format"], "activation": encoder.backbone.activation}
    return {**row, "epsilon": encoder.backbone.layer_norm_epsilon, **{k: float(v) for k, v in found.items()}}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("encoder_parity"), help="where environments and files go")
    parser.add_argument("--json", type=Path, help="write the table here, too")
    parser.add_argument("--step", help=argparse.SUPPRESS)
    parser.add_argument("arguments", nargs="*", help=argparse.SUPPRESS)
    given, more = parser.parse_known_args()
    if given.step:
        globals()[f"step_{given.step}"](*given.arguments, *more)
        return
    from tfsent.console import print_table
    from tfsent.storage.downloads import MINILM_L6, fetch_wheel

    minilm = fetch_wheel(MINILM_L6)
    work = given.work.resolve()
    make_references(work, minilm)
    rows = [compare(work / "out", path.stem) for path in sorted((work / "out").glob("*.npz")) if path.stem != "batch"]
    header = ("checkpoint", "format", "activation", "epsilon", "sequence_output", "pooled_output")
    cells = [[f"{v:.1e}" if isinstance(v := row.get(name, "–"), float) else v for name in header] for row in rows]
    print_table(f"Largest difference on {REVIEWS} reviews of up to {LENGTH} tokens (goal: 1e-4)", header, cells)
    if given.json:
        given.json.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
