"""The page in a browser: Debian's Chromium, and axe-core where there is one."""

import asyncio
import io
import json
import os
import pathlib
import shutil
import socket
import threading
import time
import urllib.error
import urllib.parse
import urllib.request

import numpy as np
import pytest
import screenshot_page
import uvicorn
from PIL import Image
from playwright import sync_api

from sngan_tf.server import app as app_lib
from sngan_tf.server import models
from sngan_tf.server import service as service_lib

CHROMIUM = shutil.which("chromium")
AXE = os.environ.get("SNGAN_TF_AXE")  # The path of axe.min.js.
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(not CHROMIUM, reason="there is no chromium to open it"),
]
PHONE = {"viewport": {"width": 360, "height": 740}, "has_touch": True}
VIEWS = {
    "light": {},
    "dark": {"color_scheme": "dark"},
    "phone": PHONE,
}
# In the order that Tab goes through, after the links at the top.
CONTROLS = (
    *("seed", "count", "resample", "truncation"),
    *("picture_file", "latents_file"),
    *("start", "end", "position", "play", "walk_file"),
    *("file", "judge_walk"),
)


@pytest.fixture(scope="module")
def address():
    """Returns that of a server of the pretrained digits."""
    service = service_lib.Service(lambda: models.of_package("digits"))
    app = halting(app_lib.build(service))
    server = uvicorn.Server(uvicorn.Config(app, log_config=None))
    with socket.create_server(("127.0.0.1", 0)) as listener:
        serving = threading.Thread(target=server.run, args=([listener],))
        serving.start()
        address = f"http://127.0.0.1:{listener.getsockname()[1]}/"
        try:
            wait_until_it_judges(address)
            yield address
        finally:
            server.should_exit = True
            serving.join()


def halting(app):
    """Halts before the page's script where asked to, as a slow line may."""

    async def answer(scope, receive, send):
        async def send_in_parts(message):
            before, tag, after = message.get("body", b"").partition(b"<script ")
            if tag:
                await send({**message, "body": before, "more_body": True})
                await asyncio.sleep(0.5)
                message = {**message, "body": tag + after}
            await send(message)

        halts = b"halting" in scope.get("query_string", b"")
        await app(scope, receive, send_in_parts if halts else send)

    return answer


def wait_until_it_judges(address):
    """Waits for the last that a server gets ready: 400 is for no picture."""
    status, end = 503, time.monotonic() + 120
    while status == 503 and time.monotonic() < end:
        time.sleep(0.1)
        try:
            urllib.request.urlopen(f"{address}judge", b"no picture")
        except urllib.error.HTTPError as error:
            status = error.code
    assert status == 400


@pytest.fixture(scope="module")
def browser():
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox"]
        )
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Returns a function that opens the page and waits for all of it.

    What the browser complains of, and a request to elsewhere, fail the test.
    """
    contexts, faults = [], []

    def complain(message):
        # Answers that are errors are what some tests ask for.
        if message.type == "error" and "Failed to load" not in message.text:
            faults.append(message.text)

    def ask(request):
        if not request.url.startswith((address, "blob:", "data:")):
            faults.append(request.url)

    def open_page(query="", routes=None, wait=True, **view):
        context = browser.new_context(**view)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("console", complain)
        page.on("pageerror", lambda error: faults.append(str(error)))
        page.on("request", ask)
        for path, answer in (routes or {}).items():
            page.route(f"**/{path}", answer)
        page.goto(address + query)
        if wait:
            page.wait_for_selector(".kernels svg")
            for section in ("pictures", "walk"):
                shown(page, section, "seed")
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert faults == []


def shown(page, section, alt):
    """Waits for a section's picture, and returns the element."""
    image = page.wait_for_selector(f"#{section} img[alt*='{alt}']")
    page.wait_for_selector(f"#{section} figure:not([aria-busy])")
    return image


def said(page, section, words):
    """Waits until a section's live region has words."""
    found = page.locator(f"#{section} [role=status]")
    sync_api.expect(found).to_contain_text(words)
    return found


def pixels(image):
    """Returns gray pixels of an image in the page, at its own size."""
    found = image.evaluate(
        """image => {
          const canvas = document.createElement("canvas");
          canvas.width = image.naturalWidth;
          canvas.height = image.naturalHeight;
          const context = canvas.getContext("2d");
          context.drawImage(image, 0, 0);
          const all = [0, 0, canvas.width, canvas.height];
          const { data } = context.getImageData(...all);
          return [...data].filter((_, i) => i % 4 == 0);
        }"""
    )
    width, height = image.evaluate("x => [x.naturalWidth, x.naturalHeight]")
    return np.reshape(found, (height, width))


def fetched(address, path):
    with urllib.request.urlopen(address + path) as answer:
        return answer.read()


def decoded(content):
    return np.asarray(Image.open(io.BytesIO(content)).convert("L"))


def query_of(page):
    query = urllib.parse.urlsplit(page.url).query
    return dict(urllib.parse.parse_qsl(query))


def about_with(address, **changed):
    """Returns an answer of about.json with other values."""
    about = json.loads(fetched(address, "about.json")) | changed
    return lambda route: route.fulfill(json=about)


def fail(route):
    route.fulfill(status=503, json={"error": "the queue is full"})


def test_header_is_the_one_that_the_page_is_written_for(address):
    with urllib.request.urlopen(address) as answer:
        policy = answer.headers["Content-Security-Policy"]
        page = answer.read().decode()
    wanted = page.partition("Content-Security-Policy:")[2].partition("\n\n")[0]
    assert policy.split() == wanted.rstrip(";").split()
    assert "default-src 'none'" in policy


def test_address_chooses_the_pictures(visit, address):
    page = visit("?seed=7&count=4&truncation=0.5")
    image = shown(page, "pictures", "4 pictures of seed 7, truncation 0.5")
    wanted = fetched(address, "sample.png?seed=7&count=4&truncation=0.5")
    np.testing.assert_array_equal(pixels(image), decoded(wanted))
    other = fetched(address, "sample.png?seed=8&count=4&truncation=0.5")
    assert np.any(pixels(image) != decoded(other))
    for name, value in {"seed": "7", "count": "4", "truncation": "0.5"}.items():
        assert page.input_value(f"#{name}") == value
    said(page, "pictures", "4 pictures of seed 7, truncation 0.5")


def test_what_is_chosen_stands_in_the_address(visit):
    page = visit("?count=4")
    page.fill("#seed", "12")
    shown(page, "pictures", "4 pictures of seed 12,")
    page.press("#truncation", "ArrowLeft")
    shown(page, "pictures", "seed 12, truncation 0.95")
    page.press("#position", "End")
    shown(page, "walk", "100 %")
    chosen = {"seed": "12", "count": "4", "truncation": "0.95", "position": "1"}
    assert query_of(page) == chosen
    page.click("#resample")
    page.wait_for_selector("#pictures img:not([alt*='seed 12,'])")
    seed = page.input_value("#seed")
    shown(page, "pictures", f"4 pictures of seed {seed},")
    assert query_of(page) == chosen | {"seed": seed}
    page.reload()
    shown(page, "pictures", f"4 pictures of seed {seed}, truncation 0.95")


def test_walk_goes_from_one_seed_to_the_other(visit, address):
    page = visit("?start=3&end=8&truncation=0.8")
    for position, share in (("0", "0 %"), ("0.5", "50 %"), ("1", "100 %")):
        page.fill("#position", position)
        image = shown(page, "walk", f"{share} of the way from seed 3 to seed 8")
        path = f"walk.png?start=3&end=8&truncation=0.8&position={position}"
        wanted = decoded(fetched(address, path))
        np.testing.assert_array_equal(pixels(image), wanted)


@pytest.mark.parametrize("motion", ["reduce", "no-preference"])
def test_animation_plays_only_when_told(visit, motion):
    asked = []
    routes = {"walk.gif*": lambda route: (asked.append(1), route.continue_())}
    page = visit(routes=routes, reduced_motion=motion)
    page.wait_for_timeout(300)
    assert not asked
    page.click("#play")
    shown(page, "walk", "Walk there and back, seed 0 to seed 1")
    assert asked
    assert page.get_attribute("#play", "aria-pressed") == "true"
    page.click("#play")
    shown(page, "walk", "0 % of the way")
    assert page.get_attribute("#play", "aria-pressed") == "false"
    page.click("#play")
    shown(page, "walk", "Walk there and back")
    page.press("#position", "Home")
    page.press("#position", "ArrowRight")
    shown(page, "walk", "2 % of the way")
    assert page.get_attribute("#play", "aria-pressed") == "false"


def test_downloads_are_what_is_shown(visit, address):
    page = visit("?seed=7&count=4&truncation=0.5&end=9")

    def download(name):
        with page.expect_download() as found:
            page.click(f"#{name}")
        content = pathlib.Path(found.value.path()).read_bytes()
        return found.value.suggested_filename, content

    name, content = download("picture_file")
    assert name == "digits_seed_7_count_4.png"
    np.testing.assert_array_equal(
        decoded(content), pixels(page.query_selector("#pictures img"))
    )
    name, content = download("latents_file")
    assert name == "digits_seed_7_count_4.json"
    latents = np.array(json.loads(content)["latents"])
    assert latents.shape == (4, 128)
    assert latents.std() == pytest.approx(0.5, rel=0.2)
    name, content = download("walk_file")
    assert name == "digits_walk_0_to_9.gif"
    assert Image.open(io.BytesIO(content)).n_frames > 24


HAND_OVER = """([bytes, kind]) => {
  const content = [new Uint8Array(bytes)];
  const transfer = new DataTransfer();
  transfer.items.add(new File(content, "5.png", { type: "image/png" }));
  const event = kind === "DragEvent"
    ? new DragEvent("drop", { dataTransfer: transfer, bubbles: true })
    : new ClipboardEvent("paste", { clipboardData: transfer, bubbles: true });
  document.querySelector(".drop").dispatchEvent(event);
}"""


def judged(page):
    sync_api.expect(page.locator("#verdict")).not_to_have_attribute(
        "aria-busy", "true"
    )
    return page.locator("#verdict dd").all_inner_texts()


@pytest.mark.parametrize("way", ["chosen", "dropped", "pasted"])
def test_discriminator_judges_a_picture(visit, address, way):
    content = fetched(address, "walk.png?start=5&end=5&position=0")
    page = visit()
    if way == "chosen":
        file = {"name": "5.png", "mimeType": "image/png", "buffer": content}
        page.set_input_files("#file", file)
    else:
        kind = {"dropped": "DragEvent", "pasted": "ClipboardEvent"}[way]
        page.evaluate(HAND_OVER, [[*content], kind])
    said(page, "judge", "of 1,000 generated ones")
    asked = urllib.request.Request(f"{address}judge", content)
    with urllib.request.urlopen(asked) as answer:
        wanted = json.load(answer)
    logit, score = judged(page)
    assert float(logit) == pytest.approx(wanted["logit"], rel=0.01)
    assert float(score.split(",")[0]) == pytest.approx(
        wanted["score"], rel=0.01
    )
    share = round(100 * wanted["of_generated"])
    side = "real" if wanted["logit"] > 0 else "generated"
    said(page, "judge", f"for {side}, and finds it more real than {share} %")
    np.testing.assert_array_equal(
        pixels(page.query_selector("#verdict img")), decoded(content)
    )


def test_no_picture_is_told_in_words(visit):
    page = visit()
    file = {"name": "5.png", "mimeType": "image/png", "buffer": b"no picture"}
    page.set_input_files("#file", file)
    said(page, "judge", "The server says: ")
    assert page.is_hidden(".judged")
    page.click("#judge_walk")
    said(page, "judge", "of 1,000 generated ones")
    assert page.is_visible(".judged")


def test_spectrum_is_drawn_and_told(visit, address):
    spectrum = json.loads(fetched(address, "about.json"))["spectrum"]
    page = visit()
    assert page.locator(".kernels svg").count() == len(spectrum) > 1
    page.click("#spectrum summary")
    rows = page.locator("#spectrum tbody tr")
    assert rows.count() == len(spectrum)
    for i, (name, values) in enumerate(spectrum.items()):
        values = np.array(values)
        shares = values / values.sum()
        cells = rows.nth(i).locator("th, td").all_inner_texts()
        assert cells[0] == name
        numbers = [float(cell.replace(",", "")) for cell in cells[1:]]
        np.testing.assert_allclose(
            numbers,
            [
                len(values),
                values.max(),
                np.sort(values)[::-1][len(values) // 2],
                values.min(),
                np.exp(-np.sum(shares * np.log(shares))),
            ],
            rtol=5e-3,
        )
        points = page.locator("svg polyline").nth(i).get_attribute("points")
        heights = [float(p.split(",")[1]) for p in points.split()[::2]]
        assert np.all(np.diff(heights) >= 0)  # Downwards.
        # The line of 1 lies where a value of 1 would.
        line = page.locator("svg path").nth(i).get_attribute("d")
        one = float(line.removeprefix("M0 ").removesuffix("H100"))
        np.testing.assert_allclose(
            (100 - np.array(heights)) / (100 - one),
            np.sort(values)[::-1],
            atol=1e-6,
        )


def test_error_is_told_and_can_be_tried_again(visit):
    page = visit(routes={"sample.png*": fail}, wait=False)
    said(page, "pictures", "The server says: the queue is full")
    page.unroute("**/sample.png*")
    page.click("#pictures >> text=Try again")
    shown(page, "pictures", "25 pictures of seed 0")
    assert not page.is_visible("text=Try again")


def test_server_that_is_gone_is_told(visit):
    page = visit()
    page.route("**/sample.png*", lambda route: route.abort())
    page.click("#resample")
    said(page, "pictures", "The server can't be reached.")


def test_wrong_number_is_told_before_it_is_asked(visit, address):
    most = json.loads(fetched(address, "about.json"))["max_count"]
    page = visit()
    page.fill("#count", str(most + 1))
    said(page, "pictures", f"Count: Value must be less than or equal to {most}")
    assert page.get_attribute("#count", "aria-invalid") == "true"
    page.fill("#count", "3")
    shown(page, "pictures", "3 pictures")
    assert page.get_attribute("#count", "aria-invalid") is None


def test_what_the_model_cannot_do_is_not_asked_twice(visit, address):
    page = visit("?label=3")  # Of a model that has no classes.
    shown(page, "pictures", "25 pictures of seed 0, truncation 1")
    few = {"about.json": about_with(address, max_count=9, max_frames=3)}
    page = visit(routes=few)
    shown(page, "pictures", "9 pictures of seed 0")
    assert query_of(page) == {}
    with page.expect_request("**/walk.gif*") as asked:
        page.click("#play")
    assert "frames=3&" in asked.value.url
    shown(visit("?count=101"), "pictures", "101 pictures of seed 0")


def test_newest_choice_is_shown_though_an_older_answer_is_late(visit):
    held = []

    def hold_the_first(route):
        if held:
            route.continue_()
        held.append(route)

    page = visit("?count=4")
    page.route("**/sample.png*", hold_the_first)
    page.fill("#seed", "1")
    page.wait_for_selector("#pictures figure[aria-busy]")
    page.fill("#seed", "2")
    shown(page, "pictures", "4 pictures of seed 2,")
    held[0].continue_()
    page.wait_for_timeout(300)
    shown(page, "pictures", "4 pictures of seed 2,")


def test_class_can_be_chosen(visit, address):
    names = ["airplane", "<b>bird</b>"]
    labels = []

    def unconditional(route):
        split = urllib.parse.urlsplit(route.request.url)
        query = dict(urllib.parse.parse_qsl(split.query))
        labels.append((split.path, query.pop("label", None)))
        split = split._replace(query=urllib.parse.urlencode(query))
        route.continue_(url=split.geturl())

    routes = {
        "about.json": about_with(address, class_names=names),
        "sample.png*": unconditional,
        "walk.png*": unconditional,
    }
    page = visit("?label=0", routes)
    assert {*labels} == {("/sample.png", "0"), ("/walk.png", "0")}
    options = page.locator("#label option").all_inner_texts()
    assert options == ["All in turn", *names]
    assert page.input_value("#label") == "0"
    labels.clear()
    page.select_option("#label", label=names[1])
    shown(page, "pictures", "25 pictures of seed 0 of class <b>bird</b>")
    shown(page, "walk", "of class <b>bird</b>")
    assert {*labels} == {("/sample.png", "1"), ("/walk.png", "1")}
    assert query_of(page) == {"label": "1"}
    labels.clear()
    page.select_option("#label", "")
    page.wait_for_selector("#pictures img:not([alt*=class])")
    assert ("/sample.png", None) in labels
    assert visit().is_hidden("#label")


def test_scores_stand_with_what_they_were_measured_on(visit, address):
    quick = {
        "protocol": "quick",
        "reference": "digits/all",
        "features": "classifier-1",
        "resize": "none",
        "num_fake": 5000,
        "num_real": 1797,
        "std": None,
    }
    kernel = "kernel_classifier_distance"
    rows = [
        quick | {"metric": kernel, "value": 0.00291, "std": 0.0014},
        quick | {"metric": f"real_{kernel}", "value": -0.0006},
        quick
        | {"metric": "inception_score", "value": 8.2, "num_real": None}
        | {"protocol": "paper", "features": "inception"},
    ]
    page = visit(routes={"about.json": about_with(address, scores=rows)})
    tables = page.locator("#scores table")
    captions = tables.locator("caption").all_inner_texts()
    of_digits = "real pictures of digits/all, by"
    assert captions == [
        f"Protocol quick: {of_digits} classifier-1 (resize: none)",
        f"Protocol paper: {of_digits} inception (resize: none)",
    ]
    cells = tables.nth(0).locator("tbody > tr > *").all_inner_texts()
    assert cells == [kernel, "0.00291 ± 0.0014", "5,000 / 1,797", "-0.0006"]
    cells = tables.nth(1).locator("tbody > tr > *").all_inner_texts()
    assert cells == ["inception_score", "8.2", "5,000 / -", ""]


CARD = """---
license: none
---

# A card <b>of</b> mine

Words with `code`, **weight**, [a link](https://example.org/a) and
[a trap](javascript:alert), <img src=x onerror="alert(2)">.

```python
x = "<script>alert(3)</script>"  # not a *heading*
```

| metric | value |
|---|---|
| `score` | 8.5 |

- one
- two
"""


def test_card_is_shown_and_never_run(visit, address):
    page = visit(routes={"about.json": about_with(address, card=CARD)})
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    card = page.locator("#card")
    assert card.locator("h3").all_inner_texts() == ["A card <b>of</b> mine"]
    assert card.locator("strong").all_inner_texts() == ["weight"]
    assert card.locator("b, img, script").count() == 0
    links = card.locator("a").evaluate_all("all => all.map((a) => a.href)")
    assert links == ["https://example.org/a"]
    assert "a trap, <img src=x" in card.inner_text()
    assert "license" not in card.inner_text()
    code = 'x = "<script>alert(3)</script>"  # not a *heading*'
    assert card.locator("pre").inner_text() == code
    assert card.locator("td, th").all_inner_texts() == [
        *("metric", "value"),
        *("score", "8.5"),
    ]
    assert card.locator("li").all_inner_texts() == ["one", "two"]


def test_card_of_the_digits_is_shown(visit):
    card = visit().locator("#card")
    titles = ["Use", "Training", "Scores", "Data"]
    assert card.locator("h4").all_inner_texts()[:4] == titles
    assert card.locator("tbody tr").count() == 6
    assert "CC BY 4.0" in card.inner_text()


def test_model_without_discriminator_says_so(visit, address):
    without = about_with(address, judges=False, spectrum={})
    page = visit(routes={"about.json": without}, wait=False)
    for section in ("judge", "spectrum"):
        words = page.locator(f"#{section}")
        sync_api.expect(words).to_contain_text("without its discriminator")
    assert page.is_hidden(".drop")
    shown(page, "pictures", "seed 0")


def test_server_that_gets_ready_can_be_asked_again(visit):
    page = visit(routes={"about.json": fail}, wait=False)
    words = page.locator("#spectrum")
    sync_api.expect(words).to_contain_text("The server says: the queue is full")
    page.unroute("**/about.json")
    page.click("#spectrum >> text=Try again")
    page.wait_for_selector(".kernels svg")
    page.wait_for_selector("#card h3")


def test_phone_needs_no_scrolling_sideways(visit):
    page = visit(**PHONE)
    page.click("#judge_walk")
    said(page, "judge", "generated ones")
    page.click("#spectrum summary")
    assert page.evaluate("document.documentElement.scrollWidth") == 360
    small = page.eval_on_selector_all(
        "button, .button, .drop, select, input:not(.unseen), nav a, summary",
        """all => all.filter((x) => x.checkVisibility()).flatMap((x) => {
          const { width, height } = x.getBoundingClientRect();
          return Math.min(width, height) < 40 ? [[x.outerHTML, height]] : [];
        })""",
    )
    assert small == []


def test_keyboard_reaches_all_and_shows_where_it_is(visit):
    page = visit()
    page.keyboard.press("Tab")
    skip = page.locator(".skip")
    sync_api.expect(skip).to_be_focused()
    assert skip.bounding_box()["x"] >= 0
    page.keyboard.press("Enter")
    reached = []
    for _ in CONTROLS:
        page.keyboard.press("Tab")
        ident, outline = page.evaluate(
            """() => {
              const focused = document.activeElement;
              const seen = focused.closest(".drop") ?? focused;
              return [focused.id, getComputedStyle(seen).outlineStyle];
            }"""
        )
        reached.append(ident)
        assert outline == "solid", ident
    assert tuple(reached) == CONTROLS
    page.keyboard.press("Enter")  # On the last, `judge_walk`.
    said(page, "judge", "of 1,000 generated ones")
    page.focus("#play")
    page.keyboard.press("Space")
    shown(page, "walk", "Walk there and back")
    page.focus("#seed")
    page.keyboard.press("ArrowUp")
    shown(page, "pictures", "seed 1,")
    with page.expect_file_chooser():
        page.focus("#file")
        page.keyboard.press("Enter")


@pytest.mark.parametrize("view", ["light", "phone"])
@pytest.mark.parametrize("line", ["", "&halting"])
def test_nothing_moves_as_parts_arrive(visit, line, view):
    page = visit(f"?count=2{line}", **VIEWS[view])
    shift = page.evaluate(
        """() => new Promise((resolve) => {
          let sum = 0;
          new PerformanceObserver((list) => {
            for (const entry of list.getEntries()) sum += entry.value;
          }).observe({ type: "layout-shift", buffered: true });
          setTimeout(() => resolve(sum), 300);
        })"""
    )
    assert shift < 0.02
    frame = page.locator("#pictures .frame").bounding_box()
    picture = pixels(page.query_selector("#pictures img"))
    assert frame["width"] / frame["height"] == pytest.approx(
        picture.shape[1] / picture.shape[0], rel=0.02
    )


def test_pictures_for_the_documentation_are_taken(browser, address, tmp_path):
    for name, view in screenshot_page.VIEWS.items():
        path = tmp_path / f"{name}.png"
        screenshot_page.take(browser, address, path, *view)
        assert path.stat().st_size < 300_000
        taken = Image.open(path)
        assert taken.width == view[1]
        assert len(taken.convert("L").getcolors()) > 100


@pytest.mark.skipif(not AXE, reason="SNGAN_TF_AXE names no axe.min.js")
@pytest.mark.parametrize("view", VIEWS)
def test_axe_finds_nothing(visit, address, view):
    page = visit(
        routes={"about.json": about_with(address, class_names=["a", "b"])},
        **VIEWS[view],
    )
    page.click("#spectrum summary")
    page.click("#judge_walk")
    said(page, "judge", "of 1,000 generated ones")
    page.fill("#count", "0")
    said(page, "pictures", "Count: ")
    page.route("**/walk.png*", fail)
    page.press("#position", "End")
    said(page, "walk", "The server says: ")
    page.evaluate(pathlib.Path(AXE).read_text())
    found = page.evaluate("axe.run(document)")
    assert len(found["passes"]) > 20
    assert [
        (violation["id"], [node["html"] for node in violation["nodes"]])
        for violation in found["violations"]
    ] == []
