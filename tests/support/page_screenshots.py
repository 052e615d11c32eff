"""Draw the image of the page in docs/teach.md.

    python -m tests.support.teach_screenshot docs/images/teach.png

teaches a memory of the bundled model the shapes of that page, asks it about two more, and takes a screenshot.
"""

from __future__ import annotations

import re
import subprocess
import sys
import tempfile
from pathlib import Path

from playwright.sync_api import expect, sync_playwright

from tests.support.browsing import Visit
from tests.support.chromium import find_chromium
from tests.support.examples import ROOT
from tests.support.running_server import running_server

_TAUGHT = ("bar", "cross", "disc")


def draw_shapes(folder: Path) -> None:
    """Run the script of the page in a folder."""
    page = (ROOT / "docs" / "teach.md").read_text()
    script = re.search(r"^```python\n(# draw\.py\n.*?)^```", page, re.MULTILINE | re.DOTALL)
    assert script
    subprocess.run([sys.executable, "-c", script[1]], cwd=folder, check=True)


def main(output: str) -> None:
    """Take the screenshot."""
    with tempfile.TemporaryDirectory() as name, sync_playwright() as playwright:
        folder = Path(name)
        draw_shapes(folder)
        with running_server(AIT_MEMORIES=str(folder / "memories.sqlite3")) as (url, _):
            browser = playwright.chromium.launch(executable_path=find_chromium())
            here = Visit(browser, url, "/teach", viewport={"width": 960, "height": 800})
            here.page.get_by_label("New memory").fill("shapes")
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
            here.page.wait_for_function("[...document.images].every((image) => image.complete && image.naturalWidth)")
            here.page.screenshot(path=output, full_page=True, animations="disabled")
            here.close()
            browser.close()


if __name__ == "__main__":
    main(sys.argv[1])
