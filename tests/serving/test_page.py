"""The page in headless Chromium: it asks nobody but its server, and says what was read of a text."""

import shutil

import pytest

playwright = pytest.importorskip("playwright.sync_api", reason="NOT RUN IN A BROWSER: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NOT RUN IN A BROWSER: it needs Chromium, on Debian: apt-get install chromium"
)


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture(scope="module")
def served(start, mobile):
    return start(mobile)


@pytest.fixture(scope="module")
def guarded(start, mobile):
    return start(mobile, token="secret")


@pytest.fixture
def page(browser):
    """A page that may ask nobody but its own server, and whose script must not fail."""
    context = browser.new_context()
    page = context.new_page()
    page.set_default_timeout(120_000)
    asked, errors = [], []
    context.on("request", lambda request: asked.append(request.url))
    page.on("pageerror", lambda error: errors.append(str(error)))
    page.on("console", lambda said: errors.append(said.text) if "Content Security" in said.text else None)
    yield page
    context.close()
    assert [url for url in asked if not url.startswith(("http://127.0.0.1", "data:"))] == []
    assert errors == []


def answer(page, text):
    page.fill("#text", text)
    page.click("button")
    page.wait_for_function("() => !document.querySelector('button').disabled")
    return page.inner_text("#said")


def test_a_text_is_answered_with_a_bar_for_each_class(page, served):
    page.goto(served.url)
    assert answer(page, "good great film") == "positive"
    names = [row.inner_text() for row in page.query_selector_all("#classes .name")]
    assert names == ["negative", "positive"]
    assert page.inner_text("#classes .best .name") == "positive"
    shares = page.evaluate("[...document.querySelectorAll('.track span')].map((bar) => parseFloat(bar.style.width))")
    over_http = served.predict("good great film").json["predictions"][0]["probabilities"]
    assert shares == pytest.approx([share * 100 for share in over_http], abs=1e-3)
    assert page.inner_text("#about") == "sentiment, version 1 · all 3 tokens were read"
    assert answer(page, "awful bad plot") == "negative"


def test_a_text_that_is_cut_is_said_to_be(page, served):
    page.goto(served.url)
    assert answer(page, "good film " * 1000) == "positive"
    assert page.inner_text("#note") == "The text is longer than the model reads: 30 of 2,000 tokens were read."
    assert page.inner_text("#about") == "sentiment, version 1"


def test_the_keyboard_is_enough(page, served):
    page.goto(served.url)
    page.keyboard.type("good great film")
    page.keyboard.press("Control+Enter")
    page.wait_for_selector(".best")
    assert page.inner_text("#said") == "positive"


def test_a_text_is_no_markup(page, served):
    page.goto(served.url)
    answer(page, "<img src=x onerror=alert(1)> good")
    assert page.query_selector("img") is None


def test_no_text_and_no_server_are_said(page, start, mobile):
    served = start(mobile)
    page.goto(served.url)
    page.click("button")
    assert page.inner_text("#said") == "Write a text first."
    served.end()
    assert answer(page, "good") == "The server does not answer."
    assert page.query_selector(".best") is None


def test_the_token_is_asked_for(page, guarded):
    page.goto(guarded.url)
    assert not page.is_visible("#secret")
    assert answer(page, "good great film").startswith("Expected the header Authorization")
    page.fill("#secret", "secret")
    assert answer(page, "good great film") == "positive"
    assert not page.is_visible("#secret")


@pytest.mark.parametrize("width", [320, 390, 1280])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_it_fits_a_telephone_and_can_be_read_in_light_and_dark(browser, served, width, scheme):
    context = browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
    page = context.new_page()
    page.set_default_timeout(120_000)
    page.goto(served.url)
    answer(page, "good film " * 100)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    light = page.evaluate("getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)[0] > 127")
    assert light == (scheme == "light")
    context.close()
