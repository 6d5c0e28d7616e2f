"""export/web in headless Chromium: the same ids and answers as here, with nothing asked of another host."""

import functools
import http.server
import json
import shutil
import subprocess
import threading
from pathlib import Path

import numpy as np
import pytest
from nasty_texts import nasty, rich_vocabulary

import tfsent
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
    return texts.map((text) => tokenizer.rows(text));
}"""


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    """The page with its runtime, as `npm install` puts it there."""
    folder = tmp_path_factory.mktemp("site") / "web"
    shutil.copytree(WEB, folder, ignore=shutil.ignore_patterns("node_modules", "model"))
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent"]
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def serve(folder):
    class Quiet(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *words):
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(folder)))
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
    return page.evaluate(TOKENIZE, [whole, (folder / "vocab.txt").read_text(encoding="utf-8"), texts])


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
    page.wait_for_function("() => window.classifier || document.querySelector('.error')")
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


def test_a_person_types_a_review(page, served, with_model, exported):
    with_model(exported / "export" / "mobile")
    page.goto(served)
    page.get_by_label("A review").fill("good great superb film")
    page.get_by_role("button", name="Classify").click()
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#label").startswith("positive, ")
    assert page.locator("#bars li").count() == 2
    assert "tokens, run at length 32. Tokenizing" in page.inner_text("#facts")


def test_the_page_works_when_the_network_is_gone(browser, site, with_model, exported):
    with_model(exported / "export" / "mobile")
    server, url = serve(site)
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    for _ in range(2):  # the first visit starts the service worker, the second goes through it
        page.goto(url)
        page.wait_for_function("() => window.classifier && navigator.serviceWorker.controller")
    server.shutdown()
    server.server_close()
    page.goto(url)
    page.get_by_label("A review").fill("bad awful plot")
    page.get_by_role("button", name="Classify").click()
    page.wait_for_selector("#answer:not([hidden])")
    assert page.inner_text("#label").startswith("negative, ")
    context.close()


def test_a_page_without_a_model_says_what_to_copy(page, served):
    page.goto(served)
    page.wait_for_selector(".error")
    expected = "/model/manifest.json is missing. Copy what lies in RUN/export/mobile/ to the folder model/."
    assert page.inner_text("#status") in (expected, expected.replace("manifest", "text"))
