"""The page for everybody: by keyboard, by ear, on a phone, in the dark."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Route, expect

from tests.support.page.browsing import PHONE, Visit, payload
from tests.support.page.ui_images import airplane, ship

pytestmark = pytest.mark.browser

VisitPage = Callable[..., Visit]
RULES = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}

# Whether somebody who looks at the page sees what has the focus: on the element, or on what stands for it.
FOCUS_IS_SHOWN = """() => {
  const node = document.activeElement;
  const stands = [node, node.nextElementSibling, node.closest(".drop")].filter(Boolean);
  return stands.some((each) => getComputedStyle(each).outlineStyle === "solid");
}"""


def tab_to(here: Visit, wanted: str, *, backwards: bool = False, most: int = 30) -> None:
    """Presses Tab until something whose description holds `wanted` has the focus."""
    for _ in range(most):
        here.page.keyboard.press("Shift+Tab" if backwards else "Tab")
        assert here.page.evaluate(FOCUS_IS_SHOWN), here.focused()
        if wanted in here.focused():
            return
    pytest.fail(f"Tab does not lead to {wanted!r}")


def test_by_keyboard_alone(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    press = here.page.keyboard.press
    tab_to(here, "Model")
    tab_to(here, "API")
    tab_to(here, "files")
    with here.page.expect_file_chooser() as choosing:
        press("Space")
    choosing.value.set_files([payload(ship(), "steamer.png")])
    assert here.best(here.cards) == "ship"
    expect(here.page.get_by_role("grid")).to_be_visible()
    tab_to(here, "take: Take an image")
    tab_to(here, "Remove all")
    tab_to(here, "Remove steamer.png")
    tab_to(here, "Explain")
    assert here.page.evaluate("() => document.activeElement.getAttribute('aria-expanded')") == "true"
    press("Enter")
    expect(here.page.get_by_role("grid")).not_to_be_visible()
    press("Enter")
    expect(here.page.get_by_role("grid")).to_be_visible()

    tab_to(here, "row ")
    press("Control+Home")
    assert "row 1, column 1: " in here.focused()
    for key, place in [("ArrowRight", "1, column 2"), ("ArrowDown", "2, column 2"), ("End", "2, column 8")]:
        press(key)
        assert f"row {place}: " in here.focused()
        expect(here.cards.locator(".patch h4")).to_have_text(f"Row {place}")
    press("ArrowRight")
    assert "row 2, column 8: " in here.focused()

    tab_to(here, "Class map")
    tab_to(here, "Explain")
    press("ArrowDown")
    second = here.cards.locator("select option").nth(1).inner_text().split(" · ")[0]
    expect(here.cards.locator(".view")).to_contain_text(f"Orange patches speak for {second}")
    tab_to(here, "Class map", backwards=True)
    press("ArrowRight")
    tab_to(here, "Block 4 of 4")
    press("ArrowLeft")
    expect(here.cards.get_by_role("slider")).to_have_attribute("aria-valuetext", "block 3 of 4")
    tab_to(here, "Energy")
    press("ArrowRight")
    expect(here.cards.get_by_role("radio", name="Share")).to_be_checked()
    tab_to(here, "row 2, column 8: energy ", backwards=True)
    tab_to(here, "Remove steamer.png", backwards=True)
    press("Enter")
    expect(here.cards).to_have_count(0)
    assert "files" in here.focused()
    tab_to(here, "classes")


def test_what_happens_is_said(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.refusals = {415}
    here.add(payload(airplane(), "plane.png"))
    here.best(here.cards)
    here.add(payload(b"text", "notes.txt"))
    said = here.page.get_by_role("log")
    expect(said).to_contain_text("plane.png: airplane, 9")
    expect(said).to_contain_text("plane.png: the explanation is there.")
    expect(said).to_contain_text("notes.txt: Not an accepted ")
    here.page.get_by_role("button", name="Remove notes.txt").press("Enter")
    expect(said).to_contain_text("notes.txt removed")
    assert "Remove plane.png" in here.focused()


def check_accessible(here: Visit, scheme: Literal["light", "dark"]) -> None:
    here.page.emulate_media(color_scheme=scheme, reduced_motion="reduce")
    found = Axe().run(here.page, options=RULES)
    assert found.violations_count == 0, found.generate_report()
    assert here.page.evaluate("() => document.documentElement.scrollWidth <= innerWidth")
    ground = here.page.evaluate("() => getComputedStyle(document.body).backgroundColor.match(/\\d+/g).map(Number)")
    assert max(ground) < 40 if scheme == "dark" else min(ground) > 230


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_accessible_without_sideways_scrolling(visit: VisitPage, device: str) -> None:
    here = visit(**(PHONE if device == "phone" else {})).wait_for_model()
    here.refusals = {415}
    here.add(payload(b"text", f"{'a very long name ' * 8}.txt"))
    here.add(payload(ship("JPEG", (900, 300)), "wide.jpg"))
    expect(here.cards.get_by_role("grid")).to_be_visible()
    check_accessible(here, "light")
    here.cards.get_by_role("radio", name="Memory").check()
    check_accessible(here, "dark")


def test_the_reference_is_accessible(visit: VisitPage) -> None:
    here = visit("/docs", **PHONE)
    expect(here.page.locator("details").first).to_be_visible()
    check_accessible(here, "dark")
    check_accessible(here, "light")


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_answers_take_the_room_that_was_kept_for_them(visit: VisitPage, device: str) -> None:
    here = visit(**(PHONE if device == "phone" else {})).wait_for_model()
    held: list[Route] = []
    here.page.route("**/classify*", lambda route: held.append(route))
    cards = here.add(payload(ship(), "one.png"), payload(airplane(), "two.png"))
    expect(here.page.locator("#progress")).to_have_text("0 of 2")
    expect(cards.locator("img").last).to_have_js_property("complete", True)
    before = [each.bounding_box() for each in cards.all()]
    for progress in ("1 of 2", "2 images"):
        here.pump_until(lambda: held)
        held.pop().continue_()
        expect(here.page.locator("#progress")).to_have_text(progress)
    assert [each.bounding_box() for each in cards.all()] == before
