// A folder that `tfsent export` wrote → an object that classifies texts in this browser.

import { loadAndCompile, loadLiteRt, supportsFeature, Tensor } from "@litertjs/core";
import { Tokenizer } from "./tokenizer.js";

const RUNTIME = new URL("./node_modules/@litertjs/core/wasm/", import.meta.url).href;

export class Classifier {
  // folder: the URL of RUN/export/mobile.
  static async load(folder) {
    const base = new URL(folder.replace(/\/*$/, "/"), document.baseURI);
    const manifest = await read(new URL("manifest.json", base), "json");
    // The hash in the address keeps the files of two models apart, in every cache.
    const file = (name, kind) => read(new URL(`${name}?sha256=${manifest.files[name].sha256}`, base), kind);
    const [spec, vocabulary, labels, bytes] = await Promise.all([
      file("text.json", "json"),
      file("vocab.txt", "text"),
      file("labels.txt", "text"),
      file("model.tflite", "arrayBuffer"),
    ]);
    await (Classifier.runtime ??= start());
    const model = await loadAndCompile(new Uint8Array(bytes), { accelerator: "wasm" });
    return new Classifier(model, new Tokenizer(spec, vocabulary), labels.replace(/\n$/, "").split("\n"), manifest);
  }

  constructor(model, tokenizer, labels, manifest) {
    Object.assign(this, { model, tokenizer, labels });
    this.signatures = Object.entries(manifest.signatures).sort((a, b) => a[1] - b[1]);
  }

  // Returns label, probability, probabilities in the order of the labels, tokens, rows, signature and milliseconds.
  async classify(text) {
    const started = performance.now();
    const rows = this.tokenizer.rows(text);
    const tokenized = performance.now();
    const answers = [];
    for (const row of rows) answers.push(await this.run(row));
    const finished = performance.now();
    const probabilities = this.labels.map((_, i) => answers.reduce((sum, one) => sum + one[i], 0) / answers.length);
    const best = probabilities.indexOf(Math.max(...probabilities));
    return {
      label: this.labels[best],
      probability: probabilities[best],
      probabilities,
      tokens: rows.reduce((sum, row) => sum + row.length, 0),
      rows: rows.length,
      signature: this.signature(rows[0])[0],
      milliseconds: { tokenize: tokenized - started, model: finished - tokenized },
    };
  }

  // The shortest signature that holds a row: a short text costs little.
  signature(row) {
    return this.signatures.find(([, length]) => row.length <= length);
  }

  async run(row) {
    const [name, length] = this.signature(row);
    const ids = new Int32Array(length).fill(this.tokenizer.pad);
    ids.set(row);
    const mask = new Int32Array(length).fill(1, 0, row.length);
    const shape = [1, length];
    const inputs = {
      ids: new Tensor(ids, shape),
      mask: new Tensor(mask, shape),
      segment_ids: new Tensor(new Int32Array(length), shape),
    };
    const outputs = await this.model.run(name, inputs);
    const found = Array.from(outputs.probabilities.toTypedArray());
    // LiteRT.js frees no tensor by itself.
    for (const tensor of [...Object.values(inputs), ...Object.values(outputs)]) tensor.delete();
    return found;
  }
}

// With threads where the browser allows them: the server sent the two headers that README.md names.
async function start() {
  const threads = globalThis.crossOriginIsolated && (await supportsFeature("relaxedSimd"));
  return loadLiteRt(RUNTIME, { threads });
}

async function read(url, kind) {
  const answer = await fetch(url, { cache: "no-cache" }).catch(() => null);
  // Some servers answer with a page of their own where a file is missing.
  if (!answer?.ok || answer.headers.get("Content-Type")?.startsWith("text/html")) {
    throw new Error(`${url.pathname} is missing. Copy what lies in RUN/export/mobile/ to the folder model/.`);
  }
  return answer[kind]();
}
