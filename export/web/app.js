import { Classifier } from "./classifier.js";

const folder = new URLSearchParams(location.search).get("model") ?? "model/";
const [form, text, status, answer, label, bars, facts] = ["form", "text", "status", "answer", "label", "bars", "facts"].map(
  (id) => document.getElementById(id),
);

const percent = (share) => `${(100 * share).toFixed(1)}%`;

function show(found, labels) {
  label.textContent = `${found.label}, ${percent(found.probability)}`;
  bars.replaceChildren(
    ...labels.map((name, i) => {
      const row = document.createElement("li");
      const share = found.probabilities[i];
      const [called, track, fill, value] = ["span", "span", "span", "span"].map((tag) => document.createElement(tag));
      called.textContent = name;
      value.textContent = percent(share);
      fill.style.width = percent(share);
      track.className = "track";
      value.className = "value";
      row.classList.toggle("best", name === found.label);
      track.append(fill);
      row.append(called, track, value);
      return row;
    }),
  );
  const { tokenize, model } = found.milliseconds;
  facts.textContent =
    `${found.tokens} tokens, run at length ${found.length}. ` +
    `Tokenizing ${tokenize.toFixed(1)} ms, model ${model.toFixed(1)} ms.`;
  answer.hidden = false;
}

async function start() {
  if ("serviceWorker" in navigator) navigator.serviceWorker.register("service-worker.js");
  try {
    const classifier = await Classifier.load(folder);
    window.classifier = classifier; // to play with in the console
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      show(await classifier.classify(text.value), classifier.labels);
    });
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    status.textContent = "Ready. The text stays on this device.";
    form.querySelector("button").disabled = false;
  } catch (error) {
    status.textContent = error.message;
    status.classList.add("error");
  }
}

start();
