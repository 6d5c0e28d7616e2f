"""The report in headless Chromium: wide and narrow, light and dark, without JavaScript, and asking nobody."""

import itertools
import shutil

import pytest

from tfsent.evaluation.report.page import write_report

playwright = pytest.importorskip("playwright.sync_api", reason="NOT RUN IN A BROWSER: pip install playwright")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
pytestmark = pytest.mark.skipif(
    CHROMIUM is None, reason="NOT RUN IN A BROWSER: it needs Chromium, on Debian: apt-get install chromium"
)
LONG = "Donaudampfschifffahrtsgesellschaft" * 8
TOO_PALE = """() => {
    const channels = (text) => {
        const numbers = text.match(/[\\d.]+/g).map(Number);
        if (text.startsWith("color(srgb")) return [...numbers.slice(0, 3).map((c) => c * 255), numbers[3] ?? 1];
        return [...numbers.slice(0, 3), numbers[3] ?? 1];
    };
    const over = (top, under) => [0, 1, 2].map((i) => top[i] * top[3] + under[i] * (1 - top[3])).concat(1);
    const luminance = (rgb) => {
        const linear = (c) => c <= 0.03928 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4;
        const [r, g, b] = rgb.slice(0, 3).map((c) => linear(c / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = (element) => {
        const layers = [];
        for (let at = element; at; at = at.parentElement) {
            layers.unshift(channels(getComputedStyle(at).backgroundColor));
        }
        return layers.reduce((under, top) => over(top, under), [255, 255, 255, 1]);
    };
    const poor = [];
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    while (walker.nextNode()) {
        const element = walker.currentNode.parentElement, text = walker.currentNode.data.trim();
        if (!text || element.closest("title, desc, style") || !element.getClientRects().length) continue;
        const style = getComputedStyle(element), back = behind(element);
        const color = over(channels(element.closest("svg") ? style.fill : style.color), back);
        const [a, b] = [luminance(color), luminance(back)].sort((x, y) => y - x);
        if ((a + 0.05) / (b + 0.05) < 4.5) poor.push([text.slice(0, 40), ((a + 0.05) / (b + 0.05)).toFixed(2)]);
    }
    return poor;
}"""


@pytest.fixture(scope="module")
def browser():
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield chromium
        chromium.close()


@pytest.fixture
def visit(browser):
    """Opens a report: `visit(run, width, scheme, scripts)`. It may ask for nothing else, and complain of nothing."""
    contexts, asked, said = [], [], []

    def open_page(run, width=1280, scheme="light", scripts=True):
        context = browser.new_context(
            viewport={"width": width, "height": 800}, color_scheme=scheme, java_script_enabled=scripts
        )
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(120_000)
        context.on("request", lambda request: asked.append(request.url))
        page.on("console", lambda message: said.append(message.text))
        page.on("pageerror", lambda error: said.append(str(error)))
        page.on("dialog", lambda dialog: said.append("a dialog") or dialog.dismiss())
        page.goto(write_report(run).as_uri())
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert [url for url in asked if not url.startswith(("file:", "data:,"))] == []
    assert len([url for url in asked if url.startswith("file:")]) == len(contexts)
    assert said == []


@pytest.fixture
def nasty(runs):
    """Texts that break out of HTML, that have no space, and that run from right to left."""
    names = (f"<img src=x onerror=alert(1)>{LONG}", "‮عربي </script><script>alert(1)</script>")
    run = runs(LONG[:200], classes=names, evaluated=True, exported=True)
    runs.change(run, "metrics.json", never_predicted=[LONG], origin=LONG)
    row = {"artifact": LONG, "faults": [LONG], "remark": LONG, "not_chosen": LONG, "megabytes": 1, "accuracy": 0.9}
    runs.change(run, "verify.json", artifacts=[row, row], published=[LONG])
    analysis = runs.analysis(names, text=f"{names[1]} {LONG} <!-- ]]> 😀 " * 20)
    slices = [{**vars(one), "by": LONG, "value": names[1] + LONG} for one in analysis.slices]
    runs.write(run, "analysis.json", {**analysis.to_dict(), "slices": slices})
    return run


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [1280, 360])
@pytest.mark.parametrize("kind", ["trained", "all", "many", "nasty"])
def test_nothing_overflows_and_all_can_be_read(visit, runs, request, kind, width, scheme):
    if kind == "nasty":
        run = request.getfixturevalue("nasty")
    else:
        classes = tuple(f"feeling {i}" for i in range(12)) if kind == "many" else ("negative", "positive")
        run = runs(classes=classes, evaluated=kind != "trained", exported=kind != "trained")
    page = visit(run, width, scheme)
    page.evaluate("document.querySelectorAll('details').forEach((one) => one.open = true)")
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    outside = """() => [...document.querySelectorAll("body *")].filter((one) => !one.closest(".scroll, pre, svg")
        && one.getClientRects().length && one.getBoundingClientRect().right > innerWidth + 1)
        .map((one) => one.outerHTML)"""
    assert page.evaluate(outside) == []
    assert page.evaluate(TOO_PALE) == []


def test_the_first_screen_answers_without_javascript(visit, runs):
    page = visit(runs(evaluated=True, exported=True), scripts=False)
    for title in ("How good?", "Where not?", "May it ship?"):
        card = page.get_by_role("region", name=title)
        assert card.bounding_box()["y"] + card.bounding_box()["height"] < 800
    page.get_by_text("config.yaml, every key resolved").click()
    assert page.get_by_text("max_tokens: 512").is_visible()


def test_the_keyboard_reaches_sections_tables_and_what_is_folded(visit, runs):
    page = visit(runs(evaluated=True, exported=True), 360)
    reached = set()
    for _ in range(60):
        page.keyboard.press("Tab")
        reached.add(page.evaluate("document.activeElement.tagName + '.' + document.activeElement.className"))
    assert {"A.", "DIV.scroll", "SUMMARY.", "PRE."} <= reached


def test_headings_and_tables_say_what_they_are(visit, runs):
    page = visit(runs(evaluated=True, exported=True))
    levels = page.evaluate("[...document.querySelectorAll('h1, h2, h3')].map((one) => +one.tagName[1])")
    assert levels.count(1) == 1
    assert max(b - a for a, b in itertools.pairwise(levels)) <= 1
    assert page.evaluate("[...document.querySelectorAll('table')].every((one) => one.caption)")
    assert page.evaluate("[...document.querySelectorAll('th')].every((one) => one.scope)")
    pictures = "[...document.querySelectorAll('svg[role=img]')].map((one) => one.querySelector('title').textContent)"
    assert "ROC curve" in page.evaluate(pictures)


def test_print_shows_what_is_folded(visit, runs):
    page = visit(runs(evaluated=True, exported=True))
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"
    assert page.evaluate("document.querySelector('nav').getClientRects().length") == 0
    assert page.pdf(format="A4").startswith(b"%PDF")
