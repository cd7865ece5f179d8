"""The report in a browser; skipped where there is none."""

import os
import pathlib
import shutil

import numpy as np
import pytest

from sngan_tf import files
from sngan_tf.gan import sampler
from sngan_tf.runs import fields
from sngan_tf.runs import page as page_lib
from sngan_tf.runs import workdir as workdir_lib

sync_api = pytest.importorskip(
    "playwright.sync_api", reason="the package playwright is missing"
)
CHROMIUM = shutil.which("chromium")
AXE = os.environ.get("SNGAN_TF_AXE")
pytestmark = pytest.mark.skipif(
    not CHROMIUM, reason="no chromium, which Debian's package of that name has"
)
PHONE = 360


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield started
        started.close()


@pytest.fixture(scope="module")
def comparison(tmp_path_factory):
    """Returns the page on two runs."""
    folder = tmp_path_factory.mktemp("runs")
    runs = [workdir_lib.Workdir(folder / f"{i}{'long' * 20}") for i in "ab"]
    for run in runs:
        run.prepare(fields.defaults())
        for step in (10, 20):
            norms = {f"conv_{i}": 0.1 * step + i for i in range(8)}
            row = {"step": step, "d_loss": 1.0, "g_loss": step / 9.0}
            row |= {"images_per_second": 9.0, "spectral_norms": norms}
            files.append_row(run.train_log, row)
            row = {"step": step, "metric": "classifier_score", "value": 2.5}
            row |= {"std": 0.125, "protocol": "quick", "num_real": 0}
            row |= {"num_fake": 5000, "reference": "digits/all"}
            row |= {"features": "classifier-abc", "resize": "none"}
            files.append_row(run.scores, row)
            images = np.full((9, 32, 32, 1), 9 * step, np.uint8)
            sampler.save_grid(run.samples / f"step_{step:08d}.png", images)
        row = {"began": "2030-01-02", "processor": "a long name of it " * 4}
        files.append_row(run.sessions, row)
    return page_lib.write(runs, folder / "comparison.html")


@pytest.fixture(params=["light", "dark"])
def page(request, browser, comparison):
    """Returns the page, opened from its file on a phone."""
    context = browser.new_context(
        viewport={"width": PHONE, "height": 640}, color_scheme=request.param
    )
    opened = context.new_page()
    opened.asked = []
    opened.on("request", lambda request: opened.asked.append(request.url))
    opened.said = []
    opened.on("console", lambda message: opened.said.append(message.text))
    opened.on("pageerror", lambda error: opened.said.append(str(error)))
    opened.goto(comparison.as_uri())
    yield opened
    context.close()


def test_page_opens_by_itself(page, comparison):
    page.wait_for_load_state("networkidle")
    others = [url for url in page.asked if not url.startswith("data:")]
    assert others == [comparison.as_uri()]
    assert page.said == []
    assert page.title() == "Comparison of 2 runs"
    # Every picture was decoded.
    widths = page.eval_on_selector_all(
        "dd img", "found => found.map(img => img.naturalWidth)"
    )
    assert widths == [3 * 34] * 4


def test_page_fits_a_phone(page):
    for _ in range(2):
        assert page.evaluate("document.body.scrollWidth") <= PHONE
        for summary in page.query_selector_all("summary"):
            summary.click()


def test_lines_can_be_seen(page):
    """Each in a colour of its own, that is not the paper's."""
    colors = page.eval_on_selector_all(
        "figure.chart:has(.legend) > svg .line",
        "found => found.map(line => getComputedStyle(line).stroke)",
    )
    paper = page.evaluate("getComputedStyle(document.body).backgroundColor")
    assert "none" not in colors
    assert paper not in colors
    assert len({*colors}) == 6


def test_animation_plays_when_it_is_opened(page):
    picture = page.locator("details img").first
    assert not picture.is_visible()
    page.locator("summary").first.focus()
    page.keyboard.press("Enter")
    assert picture.is_visible()
    assert picture.bounding_box()["width"] == 3 * 34


@pytest.mark.skipif(
    not AXE, reason="SNGAN_TF_AXE does not name axe-core's axe.min.js"
)
def test_page_is_accessible(page):
    for summary in page.query_selector_all("summary"):
        summary.click()
    # Past the page's own policy, which allows no script.
    page.evaluate(pathlib.Path(AXE).read_text())
    found = page.evaluate("axe.run()")
    assert found["passes"]
    broken = [(x["id"], x["impact"], x["nodes"]) for x in found["violations"]]
    assert broken == []
