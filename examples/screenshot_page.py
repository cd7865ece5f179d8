"""Takes pictures of a server's page, for docs/.

    python main.py --mode=serve &
    python examples/screenshot_page.py http://127.0.0.1:8501/ docs

docs/page.png as on a desk, docs/page_dark.png in the dark, docs/page_phone.png.
Needs the extra `test`, and Chromium as the system has it.
"""

import argparse
import pathlib
import shutil

from playwright import sync_api

# Scheme, width in pixels, and the last section that is shown.
VIEWS = {
    "page": ("light", 1000, "spectrum"),
    "page_dark": ("dark", 1000, "pictures"),
    "page_phone": ("light", 360, "judge"),
}


def take(browser, address, path, scheme, width, last):
    """Writes a picture of the page, a picture of its own judged.

    Args:
        browser: Of Playwright.
        address: Of the page.
        path: PNG to write.
        scheme: `"light"` or `"dark"`.
        width: Of the window, pixels.
        last: Name of the section below which the picture ends.
    """
    window = {"width": width, "height": 800}
    page = browser.new_page(color_scheme=scheme, viewport=window)
    page.goto(f"{address}?seed=7&start=3&end=8&position=0.5")
    page.wait_for_selector(".kernels svg")
    for section in ("pictures", "walk"):
        page.wait_for_selector(f"#{section} img[alt*=seed]")
    page.get_by_role("button", name="Take the picture of the walk").click()
    page.wait_for_selector("#verdict img[alt*=judged]")
    page.wait_for_function("!document.querySelector('[aria-busy]')")
    end = page.eval_on_selector(f"#{last}", "x => x.offsetTop + x.offsetHeight")
    clip = {"x": 0, "y": 0, "width": width, "height": end + 24}
    page.screenshot(path=path, full_page=True, clip=clip)
    page.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("address", help="of the page")
    parser.add_argument("folder", type=pathlib.Path, help="for the pictures")
    given = parser.parse_args()
    with sync_api.sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=shutil.which("chromium"), args=["--no-sandbox"]
        )
        for name, view in VIEWS.items():
            take(browser, given.address, given.folder / f"{name}.png", *view)
        browser.close()


if __name__ == "__main__":
    main()
