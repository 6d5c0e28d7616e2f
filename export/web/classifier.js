// A folder that `tfsent export` wrote → an object that classifies texts in this browser.

import { loadAndCompile, loadLiteRt, supportsFeature, Tensor } from "@litertjs/core";
import { choose, mean } from "./decision.js";
import { Tokenizer } from "./tokenizer.js";

const RUNTIME = new URL("./node_modules/@litertjs/core/wasm/", import.meta.url).href;

export class Classifier {
  // folder: the URL of RUN/export/mobile.
  static async load(folder) {
    const base = new URL(folder.replace(/\/*$/, "/"), document.baseURI);
    const manifest = await read(new URL("manifest.json", base), "json");
    // The hash in the address keeps the files of two models apart, in every cache.
    const file = (name, kind) => read(address(name, manifest, base), kind);
    const [spec, vocabulary, labels, decision, bytes] = await Promise.all([
      file("text.json", "json"),
      file("vocab.txt", "text"),
      file("labels.txt", "text"),
      readDecision(manifest, base),
      file("model.tflite", "arrayBuffer"),
    ]);
    await (Classifier.runtime ??= start());
    const model = await loadAndCompile(new Uint8Array(bytes), { accelerator: "wasm" });
    const names = labels.replace(/\n$/, "").split("\n");
    return new Classifier(model, new Tokenizer(spec, vocabulary), names, decision, manifest);
  }

  constructor(model, tokenizer, labels, decision, manifest) {
    Object.assign(this, { model, tokenizer, labels, decision });
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
    const probabilities = mean(answers);
    const chosen = choose(probabilities, this.decision);
    return {
      label: this.labels[chosen],
      probability: probabilities[chosen],
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

function address(name, manifest, base) {
  const listed = manifest.files[name];
  return new URL(listed ? `${name}?sha256=${listed.sha256}` : name, base);
}

async function read(url, kind) {
  const answer = await ask(url);
  if (!isThere(answer)) throw missing(url);
  return answer[kind]();
}

// Returns null where there is none, as in models of earlier versions.
async function readDecision(manifest, base) {
  const url = address("decision.json", manifest, base);
  const answer = await ask(url);
  if (isThere(answer)) return answer.json();
  // A network that fails must not change labels.
  if (manifest.files["decision.json"] && answer?.status !== 404) throw missing(url);
  return null;
}

function ask(url) {
  return fetch(url, { cache: "no-cache" }).catch(() => null);
}

// Some servers answer with a page of their own where a file is missing.
function isThere(answer) {
  return answer?.ok && !answer.headers.get("Content-Type")?.startsWith("text/html");
}

function missing(url) {
  return new Error(`${url.pathname} is missing. Copy what lies in RUN/export/mobile/ to the folder model/.`);
}
