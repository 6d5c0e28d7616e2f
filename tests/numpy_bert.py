"""BERT in NumPy (Devlin et al. 2018; Vaswani et al. 2017), written independently to check every layout against."""

import json
import math

import numpy as np
from safetensors.numpy import load_file


def numpy_bert(folder, token_ids, padding_mask, embedded=None):
    """Compute BERT in float64 from the tensors of a Hugging Face folder.

    Args:
        folder: with config.json and model.safetensors.
        token_ids: `int[rows, tokens]`.
        padding_mask: `bool[rows, tokens]`, true for tokens.
        embedded: `float[rows, tokens, hidden]` in the place of the embeddings, for ELECTRA small.

    Returns:
        `sequence_output[rows, tokens, hidden]` and `pooled_output[rows, hidden]`, the latter None without a pooler.
    """
    config = json.loads((folder / "config.json").read_text())
    w = {k: v.astype(np.float64) for k, v in load_file(folder / "model.safetensors").items() if v.dtype != np.int64}

    def dense(x, name):
        return x @ w[f"{name}.weight"].T + w[f"{name}.bias"]

    def norm(x, name):
        x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + config["layer_norm_eps"])
        return x * w[f"{name}.weight"] + w[f"{name}.bias"]

    def heads(x):
        return x.reshape(*x.shape[:2], config["num_attention_heads"], -1).swapaxes(1, 2)

    if config["hidden_act"] == "gelu":
        gelu = np.vectorize(lambda v: 0.5 * v * (1 + math.erf(v / math.sqrt(2))))
    else:
        gelu = np.vectorize(lambda v: 0.5 * v * (1 + math.tanh(math.sqrt(2 / math.pi) * (v + 0.044715 * v**3))))
    if embedded is None:
        x = w["embeddings.word_embeddings.weight"][token_ids]
        x = x + w["embeddings.position_embeddings.weight"][: token_ids.shape[1]]
        x = norm(x + w["embeddings.token_type_embeddings.weight"][0], "embeddings.LayerNorm")
    else:
        x = embedded
    for i in range(config["num_hidden_layers"]):
        p = f"encoder.layer.{i}"
        q, k, v = (heads(dense(x, f"{p}.attention.self.{n}")) for n in ("query", "key", "value"))
        scores = q @ k.swapaxes(2, 3) / math.sqrt(q.shape[-1]) + np.where(padding_mask, 0, -1e9)[:, None, None]
        scores = np.exp(scores - scores.max(-1, keepdims=True))
        context = (scores / scores.sum(-1, keepdims=True) @ v).swapaxes(1, 2).reshape(x.shape)
        x = norm(x + dense(context, f"{p}.attention.output.dense"), f"{p}.attention.output.LayerNorm")
        hidden = gelu(dense(x, f"{p}.intermediate.dense"))
        x = norm(x + dense(hidden, f"{p}.output.dense"), f"{p}.output.LayerNorm")
    return x, np.tanh(dense(x[:, 0], "pooler.dense")) if "pooler.dense.weight" in w else None
