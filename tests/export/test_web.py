"""export/web in headless Chromium: the same ids and answers as here, with nothing asked of another host."""

import functools
import hashlib
import http.server
import json
import shutil
import subprocess
import textwrap
import threading
from pathlib import Path

import numpy as np
import pytest
from nasty_texts import nasty, rich_vocabulary

import tfsent
from tfsent.text.code_points import CODE_POINTS, code_point_table
from tfsent.text.light_tokenizer import LightTokenizer
from tfsent.text.spec import TextSpec, read_vocabulary, write_text_files

playwright = pytest.importorskip("playwright.sync_api", reason="NOT RUN IN A BROWSER: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None or shutil.which("npm") is None,
    reason="NOT RUN IN A BROWSER: it needs Chromium and npm, on Debian: apt-get install chromium npm",
)
WEB = Path(__file__).parents[2] / "export" / "web"
TOKENIZE = """async ([spec, vocabulary, texts]) => {
    const { Tokenizer } = await import("/tokenizer.js");
    const tokenizer = new Tokenizer(spec, vocabulary);
    return JSON.parse(texts).map((text) => tokenizer.rows(text));
}"""
READY = "() => window.classifier || document.querySelector('.error')"


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page with its runtime, as `npm install` puts it there."""
    folder = tmp_path_factory.mktemp("site") / "web"
    shutil.copytree(WEB, folder, ignore=shutil.ignore_patterns("node_modules", "model"))
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def serve(folder, **headers):
    asked = []

    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            asked.append(self.path)

        def end_headers(self):
            for name, value in headers.items():
                self.send_header(name.replace("_", "-"), value)
            super().end_headers()

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
    server.asked = asked
    threading.Thread(target=server.serve_forever, daemon=True).start()
    return server, f"http://localhost:{server.server_port}/"


@pytest.fixture(scope="module")
def served(site):
    server, url = serve(site)
    yield url
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def page(browser, served):
    """A page that may ask nobody but its own server."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    strangers = []
    context.on(
        "request", lambda r: strangers.append(r.url) if not r.url.startswith((served, "data:", "blob:")) else None
    )
    yield page
    context.close()
    assert strangers == []


@pytest.fixture
def with_model(site):
    """Puts an exported folder where the page looks for it."""
    yield lambda folder: shutil.copytree(folder, site / "model")
    shutil.rmtree(site / "model", ignore_errors=True)


def ids_in_browser(page, served, spec, vocabulary, texts, folder):
    write_text_files(folder, spec, vocabulary)
    page.goto(served + "style.css")  # any page of this origin
    whole = json.loads((folder / "text.json").read_text())
    # As JSON: a lone half of a surrogate pair is not UTF-8.
    return page.evaluate(TOKENIZE, [whole, (folder / "vocab.txt").read_text(encoding="utf-8"), json.dumps(texts)])


def ids_here(spec, vocabulary, texts):
    rows, owner = LightTokenizer(spec, vocabulary)(texts)
    return [[rows[r].tolist() for r in np.flatnonzero(owner == i)] for i in range(len(texts))]


@pytest.mark.parametrize("lowercase", [True, False])
@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail", "windows"])
def test_nasty_texts_have_the_same_ids(page, served, tmp_path, lowercase, truncation):
    vocabulary, texts = rich_vocabulary(lowercase), nasty(300)
    spec = TextSpec(lowercase, 12, truncation, 0.25, 0.3)
    found = ids_in_browser(page, served, spec, vocabulary, texts, tmp_path)
    expected = ids_here(spec, vocabulary, texts)
    assert [(texts[i], found[i]) for i in range(len(texts)) if found[i] != expected[i]] == []


def test_halves_of_pairs_are_dropped_and_a_text_is_cut_where_it_is_here(page, served, tmp_path):
    vocabulary, spec = rich_vocabulary(True), TextSpec(True, 12, "tail")
    texts = ["good\ud83dfilm \ude00", "\ude00\ud83d good", "\ud800😀\udc00"]
    texts += ["a" * n + " " + "本 " * 249_999 + "é😀 good" for n in (0, 1, 2, 3, 4)]  # the cut falls into characters
    assert ids_in_browser(page, served, spec, vocabulary, texts, tmp_path) == ids_here(spec, vocabulary, texts)


def runs_of_code_points():
    """The table in code_points.js: a letter for what becomes of a code point, and how many do so, to the base of 36."""
    cased, uncased = code_point_table(False), code_point_table(True)
    alone, changes = cased[:, 1] >= 0, (cased != uncased).any(axis=1)
    cases = [alone & changes, alone, cased[:, 0] < 0, cased[:, 0] == ord(" "), changes & (uncased[:, 0] < 0), changes]
    kinds = np.select(cases, list("IARSML"), "K")
    starts = np.flatnonzero(np.r_[True, kinds[1:] != kinds[:-1]])
    lengths = np.diff(np.r_[starts, CODE_POINTS])
    runs = (f"{kinds[a]}{np.base_repr(n, 36).lower() if n > 1 else ''}" for a, n in zip(starts, lengths, strict=True))
    return "\n".join(textwrap.wrap("".join(runs), 118))


def test_the_table_of_code_points_is_that_of_tfsent():
    """To write it again, put what `runs_of_code_points` returns in the place of the old one."""
    assert runs_of_code_points() == (WEB / "code_points.js").read_text(encoding="utf-8").split("`")[1].strip()


@pytest.mark.parametrize("lowercase", [True, False])
def test_every_code_point_becomes_what_it_becomes_here(page, served, lowercase):
    """A browser follows a newer Unicode than the ids do."""
    page.goto(served + "style.css")
    told = page.evaluate(
        """async ([lowercase, count]) => {
            const { Tokenizer } = await import("/tokenizer.js");
            const tokenizer = new Tokenizer({ lowercase, html_break: "<br>", max_bytes: 99 }, "[PAD]");
            const words = (point) => tokenizer.words("a" + String.fromCodePoint(point) + "b").join(" ");
            const half = (point) => 0xd800 <= point && point < 0xe000;
            return JSON.stringify(Array.from({ length: count }, (_, point) => (half(point) ? null : words(point))));
        }""",
        [lowercase, CODE_POINTS],
    )
    found = json.loads(told)
    for point, outputs in enumerate(code_point_table(lowercase).tolist()):
        expected = "a" + "".join(chr(output) for output in outputs if output >= 0) + "b"
        assert found[point] is None or found[point] == " ".join(filter(None, expected.split(" "))), hex(point)


@pytest.mark.real
def test_real_reviews_have_the_same_ids(page, served, minilm, imdb, tmp_path):
    vocabulary, texts = read_vocabulary(minilm / "vocab.txt"), list(imdb.texts[:1000])
    spec = TextSpec(True, 256)
    assert ids_in_browser(page, served, spec, vocabulary, texts, tmp_path) == ids_here(spec, vocabulary, texts)


@pytest.mark.parametrize(("run", "tolerance"), [("exported", 1e-5), ("wide_run", 1e-3)])
def test_the_golden_texts_have_the_same_answers(page, served, with_model, request, run, tolerance):
    """The second is quantised. Its kernels in a browser round as those here do."""
    folder = request.getfixturevalue(run) / "export" / "mobile"
    with_model(folder)
    page.goto(served)
    page.wait_for_function(READY)
    golden = [json.loads(line) for line in (folder / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [line["text"] for line in golden]
    found = page.evaluate(
        """async (texts) => {
            const found = [];
            for (const text of texts) {
                const { probabilities } = await classifier.classify(text);
                found.push([classifier.tokenizer.rows(text), probabilities]);
            }
            return found;
        }""",
        texts,
    )
    assert [rows for rows, _ in found] == [line["ids"] for line in golden]
    probabilities = np.array([one for _, one in found])
    np.testing.assert_allclose(probabilities, [line["probabilities"] for line in golden], atol=tolerance)
    np.testing.assert_allclose(probabilities, tfsent.load(folder / "model.tflite").predict_proba(texts), atol=tolerance)


CHOOSE = """async ([folder, rows]) => {
    const { choose } = await import("/decision.js");
    const answer = await fetch(folder + "decision.json");
    const decision = answer.ok ? await answer.json() : null;
    return rows.map((row) => choose(row, decision));
}"""


def test_the_label_follows_the_decision(page, served, site, choice):
    folder = site / "choice"
    folder.mkdir()
    try:
        choice.write(folder)
        page.goto(served + "style.css")
        assert page.evaluate(CHOOSE, ["/choice/", choice.probabilities.tolist()]) == choice.places
    finally:
        shutil.rmtree(folder)


LABELS = """async (texts) => {
    const found = [];
    for (const text of texts) found.push(await classifier.classify(text));
    return found.map(({ label, probability, probabilities }) => [label, probability, probabilities]);
}"""


def labels_of(page, url, texts):
    page.goto(url)
    page.wait_for_function(READY)
    found = page.evaluate(LABELS, texts)
    for label, probability, probabilities in found:
        assert probability == probabilities[("negative", "positive").index(label)]
    return [label for label, _, _ in found]


def test_the_golden_texts_have_the_same_labels(page, served, with_model, decided):
    with_model(decided)
    golden = [json.loads(line) for line in (decided / "golden.jsonl").read_text(encoding="utf-8").splitlines()]
    texts = [line["text"] for line in golden]
    found = labels_of(page, served, texts)
    assert found == [line["label"] for line in golden]
    assert found == [one.label for one in tfsent.load(decided / "model.tflite").predict(texts)]
    # What is chosen is what is shown: its name, its own probability, and its bar.
    page.get_by_label("A review").fill("bad awful plot")
    page.get_by_role("button", name="Classify").click()
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#label") == "positive, 0.3%"
    assert page.inner_text("#bars .best").startswith("positive")


def test_windows_are_averaged_in_float32(page, served):
    """A mean of float64 would be another number than the other runtimes compare with the threshold."""
    rows = np.random.default_rng(1).random((20, 7, 2), np.float32)
    expected = np.zeros((20, 2), np.float32)
    for i in range(7):
        expected += rows[:, i] / np.float32(7)
    page.goto(served)
    found = page.evaluate(
        """async (texts) => {
            const { mean } = await import("/decision.js");
            return texts.map(mean);
        }""",
        rows.tolist(),
    )
    assert found == expected.tolist()


def as_an_earlier_version_wrote_it(folder):
    """manifest.json names no decision.json, and there is none."""
    (folder / "decision.json").unlink()
    manifest = json.loads((folder / "manifest.json").read_text())
    del manifest["files"]["decision.json"]
    (folder / "manifest.json").write_text(json.dumps(manifest))


def only_lost(folder):
    (folder / "decision.json").unlink()


@pytest.mark.parametrize("without", [as_an_earlier_version_wrote_it, only_lost])
def test_a_model_without_a_decision_answers_the_most_probable_class(page, served, with_model, decided, without):
    without(with_model(decided))
    assert labels_of(page, served, ["bad awful plot", "good great film"]) == ["negative", "positive"]


@pytest.mark.parametrize("listed", [True, False])
def test_the_decision_is_kept_when_the_network_is_gone(browser, site, with_model, decided, listed):
    """An earlier model has none, with and without a network."""
    folder = with_model(decided)
    if not listed:
        as_an_earlier_version_wrote_it(folder)
    server, url = serve(site, Cache_Control="no-store")
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    expected = "positive" if listed else "negative"
    assert answer(page, url) == expected
    server.shutdown()
    server.server_close()
    assert answer(page, url) == expected
    context.close()


def test_a_new_decision_takes_the_place_of_the_old_one(browser, site, with_model, decided, exported):
    folder = with_model(decided)
    server, url = serve(site, Cache_Control="no-store")
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    assert answer(page, url) == "positive"
    for name in ("decision.json", "manifest.json"):
        shutil.copy(exported / "export" / "mobile" / name, folder / name)
    assert answer(page, url) == "negative"
    server.shutdown()
    server.server_close()
    assert answer(page, url) == "negative"
    context.close()


def test_a_network_that_fails_does_not_change_labels(browser, served, with_model, decided):
    with_model(decided)
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.route("**/decision.json*", lambda route: route.abort())
    page.goto(served)
    page.wait_for_selector(".error")
    assert page.inner_text("#status") == MISSING.format("decision.json")
    context.close()


def test_a_person_types_a_review(page, served, with_model, exported):
    with_model(exported / "export" / "mobile")
    page.goto(served)
    page.get_by_label("A review").fill("good great superb film")
    page.get_by_role("button", name="Classify").click()
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#label").startswith("positive, ")
    assert page.locator("#bars li").count() == 2
    assert page.inner_text("#facts").startswith("6 tokens, run by serving_default. Tokenizing ")


def test_twenty_classes_fit_on_a_telephone(browser, served):
    labels = [f"feeling {i}, as a person would call it" for i in range(20)]
    found = {"label": labels[3], "probability": 0.2, "probabilities": [0.2 if i == 3 else 0.8 / 19 for i in range(20)]}
    found |= {"tokens": 2100, "rows": 6, "signature": "serving_default", "milliseconds": {"tokenize": 1, "model": 2}}
    script = f"""export const Classifier = {{
        load: async () => ({{ labels: {json.dumps(labels)}, classify: async () => ({json.dumps(found)}) }}),
    }};"""
    context = browser.new_context(viewport={"width": 360, "height": 740}, service_workers="block")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.route("**/classifier.js", lambda route: route.fulfill(body=script, content_type="text/javascript"))
    page.goto(served)
    page.get_by_label("A review").fill("anything")
    page.get_by_role("button", name="Classify").click()
    page.wait_for_selector("#answer:not([hidden])")
    assert page.locator("#bars li").count() == 20
    assert page.inner_text("#facts").startswith("2100 tokens in 6 windows, run by serving_default.")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    widths = page.evaluate("[...document.querySelectorAll('.track')].map((track) => track.clientWidth)")
    assert min(widths) > 40
    context.close()


def answer(page, url):
    page.goto(url)
    page.wait_for_function(READY)
    return page.evaluate("classifier.classify('bad awful plot').then((found) => found.label)")


def test_the_page_works_when_the_network_is_gone(browser, site, with_model, exported):
    """After one visit, and by the service worker alone: the browser itself may keep nothing."""
    with_model(exported / "export" / "mobile")
    server, url = serve(site, Cache_Control="no-store")
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    assert answer(page, url) == "negative"
    server.shutdown()
    server.server_close()
    page.goto(url)
    page.get_by_label("A review").fill("bad awful plot")
    page.get_by_role("button", name="Classify").click()
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#label").startswith("negative, ")
    context.close()


def test_a_new_model_takes_the_place_of_the_old_one(browser, site, with_model, exported):
    folder = with_model(exported / "export" / "mobile")
    server, url = serve(site, Cache_Control="no-store")
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    assert answer(page, url) == "negative"
    (folder / "labels.txt").write_text("dull\nfine\n")
    server.asked.clear()
    assert answer(page, url) == "negative"  # the manifest names the labels that are kept
    assert [path for path in server.asked if "sha256" in path] == []
    manifest = json.loads((folder / "manifest.json").read_text())
    manifest["files"]["labels.txt"]["sha256"] = hashlib.sha256(b"dull\nfine\n").hexdigest()
    (folder / "manifest.json").write_text(json.dumps(manifest))
    assert answer(page, url) == "dull"
    assert [path.split("?")[0] for path in server.asked if "sha256" in path] == ["/model/labels.txt"]
    server.shutdown()
    server.server_close()
    assert answer(page, url) == "dull"
    kept = page.evaluate("caches.open('tfsent').then((kept) => kept.keys()).then((all) => all.map(({ url }) => url))")
    assert len([address for address in kept if "labels.txt" in address]) == 1
    context.close()


def test_the_model_runs_in_threads_where_the_headers_allow_it(browser, site, with_model, exported):
    with_model(exported / "export" / "mobile")
    headers = {"Cross_Origin_Opener_Policy": "same-origin", "Cross_Origin_Embedder_Policy": "require-corp"}
    server, url = serve(site, **headers)
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    assert answer(page, url) == "negative"
    assert [path for path in server.asked if path.endswith("threaded_internal.wasm")]
    server.shutdown()
    context.close()


MISSING = "/model/{} is missing. Copy what lies in RUN/export/mobile/ to the folder model/."


def test_a_page_without_a_model_says_what_to_copy(page, served):
    page.goto(served)
    page.wait_for_selector(".error")
    assert page.inner_text("#status") == MISSING.format("manifest.json")


def test_a_folder_without_the_model_file_says_what_to_copy(page, served, with_model, exported):
    (with_model(exported / "export" / "mobile") / "model.tflite").unlink()
    page.goto(served)
    page.wait_for_selector(".error")
    assert page.inner_text("#status") == MISSING.format("model.tflite")


def test_a_server_that_answers_everything_with_a_page_has_no_model(browser, served):
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.route("**/model/**", lambda route: route.fulfill(body="<!doctype html>", content_type="text/html"))
    page.goto(served)
    page.wait_for_selector(".error")
    assert page.inner_text("#status") == MISSING.format("manifest.json")
    context.close()


def test_a_page_without_its_runtime_says_what_to_install(browser, served):
    context = browser.new_context(service_workers="block")
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.route("**/node_modules/**", lambda route: route.fulfill(status=404))
    page.goto(served)
    page.wait_for_selector(".error")
    assert page.inner_text("#status") == "LiteRT.js is missing. Run npm install in the folder of this page."
    context.close()
