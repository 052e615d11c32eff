"""Draw the images of the page that the documentation shows.

    python -m tests.support.page.page_screenshots docs/images

asks the bundled model about one image and about many, teaches a memory the shapes of docs/teach.md, asks it about two
more, and takes a screenshot of each.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from io import BytesIO
from pathlib import Path

from PIL import Image
from playwright.sync_api import Browser, Locator, expect, sync_playwright

from ait.interpret.exemplars import load_exemplars
from ait_lite.checkpoint import bundled_models
from tests.support.page.browsing import Visit, payload
from tests.support.page.chromium import find_chromium
from tests.support.processes.examples import ROOT
from tests.support.servers.running_server import running_server

_MODEL = "ait_tiny_patch4_32.cifar10"
_TAUGHT = ("bar", "cross", "disc")
_MANY = 40


def draw_shapes(folder: Path) -> None:
    """Run the script of the page in a folder."""
    page = (ROOT / "docs" / "teach.md").read_text()
    script = re.search(r"^```python\n(# draw\.py\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert script
    subprocess.run([sys.executable, "-c", script[1]], cwd=folder, check=True)


def save(here: Visit, path: Path, *, height: int | None = None) -> None:
    """Take a screenshot of the upper part of the window, or of the whole page.

    Few colours are enough for a page, and make a file a third as large.
    """
    loaded = "[...document.images].filter((each) => each.src).every((each) => each.complete && each.naturalWidth)"
    here.pump_until(lambda: here.page.evaluate(loaded))
    here.page.evaluate("document.activeElement.blur()")
    data = here.page.screenshot(full_page=height is None, animations="disabled")
    image = Image.open(BytesIO(data)).convert("RGB")
    image = image.crop((0, 0, image.width, height or image.height))
    image.quantize(192, Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE).save(path, optimize=True)
    here.close()


def answered(here: Visit, count: int) -> Locator:
    """Wait until so many images have been answered; return their cards."""
    expect(here.page.locator("#progress")).to_have_text(f"{count} image{'s' if count > 1 else ''}")
    return here.cards


def one_image(browser: Browser, url: str, path: Path) -> None:
    """An image and its five best labels."""
    here = Visit(browser, url, "/", viewport={"width": 1100, "height": 860}).wait_for_model()
    here.page.get_by_role("button", name="Ship", exact=True).click()
    here.best(answered(here, 1))
    here.page.get_by_role("button", name="Explain").click()  # what is explained without being asked takes another page
    save(here, path, height=755)


def many_images(browser: Browser, url: str, path: Path) -> None:
    """Many images as a table, those of which the model is surest first."""
    exemplars = load_exemplars(bundled_models()[_MODEL])
    assert exemplars
    here = Visit(browser, url, "/", viewport={"width": 1100, "height": 860}).wait_for_model()
    places = range(0, len(exemplars), max(1, len(exemplars) // _MANY))
    names = [exemplars.names[place].rpartition("/")[2].rpartition(".")[0] for place in places]
    here.add(*(payload(exemplars.thumbnails[place], f"{name}.jpg") for place, name in zip(places, names, strict=True)))
    answered(here, len(places))
    here.page.get_by_role("table").get_by_role("button", name="Confidence").click()
    here.page.locator("#results-head").evaluate("(node) => node.scrollIntoView()")
    save(here, path, height=580)


def teaching(browser: Browser, url: str, path: Path, folder: Path) -> None:
    """Three classes that were taught, an image of one of them, and one of none."""
    draw_shapes(folder)
    here = Visit(browser, url, "/teach", viewport={"width": 960, "height": 800})
    here.page.get_by_label("Name", exact=True).fill("shapes")
    here.page.get_by_role("button", name="Make it").click()
    expect(here.page.locator("#memory")).to_have_value("shapes")
    for count, label in enumerate(_TAUGHT, 1):
        here.page.get_by_label("New class").fill(label)
        files = [folder / "shapes" / label / f"{number}.png" for number in range(10)]
        here.page.locator("#add-files").set_input_files(files)
        expect(here.page.locator(".label-card")).to_have_count(count)
    asked = [folder / "shapes" / "disc" / "11.png", folder / "shapes" / "star" / "0.png"]
    here.page.locator("#files").set_input_files(asked)
    expect(here.page.locator(".evidence")).to_have_count(2)
    save(here, path)


def main(output: Path) -> None:
    """Take all screenshots."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        settings = {"AIT_MODEL": _MODEL, "AIT_MEMORIES": str(folder / "memories.sqlite3"), "AIT_ACCESS_LOG": "false"}
        with running_server(**settings) as (url, _):
            browser = playwright.chromium.launch(executable_path=find_chromium())
            one_image(browser, url, output / "page.png")
            many_images(browser, url, output / "table.png")
            teaching(browser, url, output / "teach.png", folder)
            browser.close()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
