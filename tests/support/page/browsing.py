"""What somebody does on the page, and what must never happen meanwhile."""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from playwright.sync_api import Browser, ConsoleMessage, FilePayload, Locator, Request, expect

from tests.support.processes.waiting import CEILING

# Long enough for a busy machine; what never comes is a failure after it.
TIMEOUT_MS = 1000 * CEILING
expect.set_options(timeout=TIMEOUT_MS)

PHONE = {"viewport": {"width": 360, "height": 740}, "is_mobile": True, "has_touch": True, "device_scale_factor": 2}


def payload(data: bytes, name: str = "image.png", mime: str = "image/png") -> FilePayload:
    """A file for an input."""
    return {"name": name, "mimeType": mime, "buffer": data}


class Visit:
    """One browser window.

    Attributes:
        refusals: statuses of answers that the test expects; a browser writes a console error for each.
        console: what was written there, errors and all else.
    """

    def __init__(self, browser: Browser, url: str, path: str, **options: Any) -> None:
        self.url = url
        self.refusals: set[int] = set()
        self.console: list[str] = []
        self.strangers: list[str] = []
        self._context = browser.new_context(base_url=url, **options)
        self._context.set_default_timeout(TIMEOUT_MS)
        self.page = self._context.new_page()
        self.page.on("console", self._on_console)
        self.page.on("pageerror", lambda error: self.console.append(f"uncaught: {error}"))
        self.page.on("request", self._on_request)
        self.page.on("filechooser", lambda _: None)  # from the start: switching it on takes longer than a key press
        self.page.goto(path)

    def wait_for_model(self) -> Visit:
        """Until the page knows what is served."""
        expect(self.page.locator("#about")).to_be_visible()
        return self

    def pump_until(self, condition: Callable[[], object]) -> None:
        """Let the page go on until a condition holds that its events bring about."""
        end = time.monotonic() + TIMEOUT_MS / 1000
        while not condition():
            assert time.monotonic() < end, "the page did not bring it about"
            self.page.wait_for_timeout(20)

    def add(self, *files: FilePayload) -> Locator:
        """Chooses files; returns all cards, the newest first."""
        self.page.locator("#files").set_input_files(list(files))
        return self.cards

    @property
    def cards(self) -> Locator:
        """The images on the page."""
        return self.page.locator(".card")

    def best(self, card: Locator) -> str:
        """The best class of an image, once it is there."""
        first = card.locator(".scores:not(.empty) li").first.locator(".name")
        expect(first).to_be_visible()
        return first.inner_text()

    def transfer(self, event: str, data: bytes, name: str, mime: str) -> None:
        """Drops or pastes a file; `event` is the constructor of the event, a function of `transfer`."""
        self.page.evaluate(
            """([data, name, mime, kind]) => {
              const bytes = Uint8Array.from(atob(data), (each) => each.charCodeAt(0));
              const transfer = new DataTransfer();
              transfer.items.add(new File([bytes], name, { type: mime }));
              const options = { bubbles: true, cancelable: true };
              const event = kind === "paste"
                ? new ClipboardEvent("paste", { ...options, clipboardData: transfer })
                : new DragEvent(kind, { ...options, dataTransfer: transfer });
              document.querySelector("#drop").dispatchEvent(event);
            }""",
            [base64.b64encode(data).decode(), name, mime, event],
        )

    def focused(self) -> str:
        """What has the focus, in words: tag, id or class, and accessible text."""
        return str(
            self.page.evaluate(
                """() => {
                  const node = document.activeElement;
                  const name = node.getAttribute("aria-label") ?? node.labels?.[0]?.textContent ?? node.textContent;
                  const what = node.id || node.className || node.getAttribute("role") || node.type;
                  return `${node.tagName.toLowerCase()} ${what}: ${name.trim()}`;
                }"""
            )
        )

    def close(self) -> None:
        """Leaves the page."""
        self._context.close()

    def check(self) -> None:
        """Fails if the page complained, broke its policy, or asked another host."""
        expected = [
            f"Failed to load resource: the server responded with a status of {each} " for each in self.refusals
        ]
        complaints = [line for line in self.console if not line.startswith(tuple(expected))]
        assert not complaints, complaints
        assert not self.strangers, self.strangers

    def _on_console(self, message: ConsoleMessage) -> None:
        self.console.append(message.text)

    def _on_request(self, request: Request) -> None:
        if not re.match(rf"(blob:)?{re.escape(self.url)}/", request.url):
            self.strangers.append(request.url)


@contextmanager
def visits(browser: Browser, url: str) -> Iterator[Callable[..., Visit]]:
    """Open pages of a server; in the end, nothing may have gone wrong that a test did not announce."""
    opened: list[Visit] = []

    def visit(path: str = "/", **options: object) -> Visit:
        opened.append(Visit(browser, url, path, **options))
        return opened[-1]

    yield visit
    for each in opened:
        each.close()
    for each in opened:
        each.check()
