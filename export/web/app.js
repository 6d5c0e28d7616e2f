const folder = new URLSearchParams(location.search).get("model") ?? "model/";
const ids = ["form", "text", "status", "answer", "label", "bars", "facts"];
const [form, text, status, answer, label, bars, facts] = ids.map((id) => document.getElementById(id));

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
  const windows = found.rows > 1 ? ` in ${found.rows} windows` : "";
  facts.textContent =
    `${found.tokens} tokens${windows}, run by ${found.signature}. ` +
    `Tokenizing ${tokenize.toFixed(1)}\u00a0ms, model ${model.toFixed(1)}\u00a0ms.`;
  answer.hidden = false;
}

function fail(message) {
  status.textContent = message;
  status.classList.add("error");
}

// Waits until the service worker sees all that the page fetches, so that one visit is enough. A page works without it.
async function keepForLater() {
  const registration = await navigator.serviceWorker?.register("service-worker.js").catch(() => null);
  const worker = registration?.active ? null : registration?.installing ?? registration?.waiting;
  if (!worker) return;
  await new Promise((done) => {
    const look = () => ["activated", "redundant"].includes(worker.state) && done();
    worker.addEventListener("statechange", look);
    look();
  });
}

async function start() {
  await keepForLater();
  const { Classifier } = await import("./classifier.js").catch(() => ({}));
  if (!Classifier) return fail("LiteRT.js is missing. Run npm install in the folder of this page.");
  try {
    const classifier = await Classifier.load(folder);
    window.classifier = classifier; // to play with in the console
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      classifier.classify(text.value).then((found) => show(found, classifier.labels), (error) => fail(error.message));
    });
    text.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
    });
    status.textContent = "Ready. The text stays on this device.";
    form.querySelector("button").disabled = false;
  } catch (error) {
    fail(error.message);
  }
}

start();
