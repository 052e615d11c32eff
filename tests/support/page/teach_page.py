"""What somebody does on the page of memories."""

from __future__ import annotations

from playwright.sync_api import Locator, expect

from tests.support.page.browsing import Visit, payload
from tests.support.servers.memories_client import coloured


def unfold(here: Visit) -> Locator:
    """The field for the name of a new memory, whose form is folded while there is a memory."""
    expect(here.page.locator("#memory option", has_text="Connecting")).to_have_count(0)
    field = here.page.get_by_label("Name", exact=True)
    if not field.is_visible():
        here.page.get_by_role("heading", name="New memory").click()
    return field


def make(here: Visit, name: str) -> None:
    unfold(here).fill(name)
    here.page.get_by_role("button", name="Make it").click()
    expect(here.page.locator("#memory")).to_have_value(name)
    expect(here.page.locator("#labels > li")).to_have_count(0)


def add_class(here: Visit, label: str, count: int) -> None:
    here.page.get_by_label("New class").fill(label)
    files = [payload(coloured(label, number), f"{label}-{number}.png") for number in range(count)]
    here.page.locator("#add-files").set_input_files(files)
    expect(card(here, label)).to_contain_text(f"{count} example")


def card(here: Visit, label: str) -> Locator:
    return here.page.locator(".label-card").filter(has=here.page.get_by_role("heading", name=label, exact=True))


def best(answer: Locator) -> Locator:
    return answer.locator(".scores li").first.locator(".name")
