"""The page of memories: make one, show it classes, ask, correct, move it."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Route, expect

from tests.support.page.browsing import PHONE, Visit, payload, visits
from tests.support.page.teach_page import add_class, best, card, make, unfold
from tests.support.page.ui_models import NAME
from tests.support.servers.memories_client import coloured
from tests.support.servers.running_server import running_server

pytestmark = pytest.mark.browser


def test_a_memory_is_taught_asked_corrected_and_forgets(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "page")
    add_class(here, "red", 3)
    add_class(here, "blue", 3)
    here.page.locator("#files").set_input_files([payload(coloured("green", 7), "leaf.png")])
    answer = here.page.locator("#answers .card").first
    expect(best(answer)).to_have_text(re.compile("red|blue"))
    expect(answer.locator(".evidence img")).to_have_count(5)
    expect(answer.locator(".evidence img").first).to_have_js_property("naturalWidth", 24)
    expect(answer).to_contain_text("It takes 19 examples")

    # A wrong answer is corrected, and every answer changes at once.
    answer.get_by_label("What leaf.png shows").fill("green")
    answer.get_by_role("button", name="Teach").click()
    expect(best(answer)).to_have_text("green")
    expect(card(here, "green")).to_contain_text("1 example")
    here.page.get_by_role("button", name="Undo").click()
    expect(card(here, "green")).to_have_count(0)
    expect(best(answer)).to_have_text(re.compile("red|blue"))
    answer.get_by_role("button", name=re.compile("It is red|Yes, it is red")).click()
    expect(card(here, "red")).to_contain_text("4 examples")

    # What it is not can be said too.
    here.page.locator("#files").set_input_files([payload(coloured("red", 9), "no.png")])
    other = here.page.locator("#answers .card").first
    expect(best(other)).to_have_text("red")
    other.get_by_role("button", name="It is not red").click()
    expect(card(here, "red")).to_contain_text("4 examples · 1 of what it is not")
    here.page.get_by_role("button", name="Undo").click()
    expect(card(here, "red")).not_to_contain_text("of what it is not")
    here.page.get_by_role("button", name="Remove no.png").click()

    card(here, "red").get_by_text("Its images").click()
    expect(card(here, "red").locator(".thumbs img")).to_have_count(4)
    card(here, "red").get_by_role("button", name=re.compile("Forget example")).first.click()
    expect(card(here, "red")).to_contain_text("3 examples")
    here.page.get_by_role("button", name="Forget the class red").click()
    here.page.keyboard.press("Escape")
    expect(card(here, "red")).to_contain_text("3 examples")
    here.page.get_by_role("button", name="Forget the class red").click()
    here.page.get_by_role("button", name="Forget it").click()
    expect(card(here, "red")).to_have_count(0)
    expect(best(answer)).to_have_text("blue")

    with here.page.expect_download() as download:
        here.page.get_by_role("button", name="Export").click()
    assert download.value.suggested_filename == "page.safetensors"
    # A reload loses nothing: not the memory, nor what it was asked.
    here.page.reload()
    expect(here.page.locator("#memory")).to_have_value("page")
    expect(card(here, "blue")).to_contain_text("3 examples")
    expect(answer.get_by_role("heading")).to_have_text("leaf.png")
    expect(best(answer)).to_have_text("blue")
    make(here, "another")
    expect(answer).to_have_count(0)
    here.page.locator("#memory").select_option("page")
    expect(best(answer)).to_have_text("blue")
    here.page.get_by_role("button", name="Remove all").click()
    here.page.reload()
    expect(card(here, "blue")).to_contain_text("3 examples")
    here.page.locator("#files").set_input_files([payload(coloured("blue", 8), "sky.png")])
    expect(here.page.locator("#answers .card h3")).to_have_text("sky.png")


def test_a_memory_moves_in_a_file_and_is_deleted(open_page: Callable[..., Visit], tmp_path: Path) -> None:
    here = open_page()
    unfold(here)
    here.page.get_by_label("keeps").select_option("no images")
    make(here, "short-lived")
    add_class(here, "red", 2)
    card(here, "red").get_by_text("Its images").click()
    expect(card(here, "red").locator(".thumbs li")).to_have_count(2)
    expect(card(here, "red").locator(".thumbs img")).to_have_count(0)
    with here.page.expect_download() as download:
        here.page.get_by_role("button", name="Export").click()
    download.value.save_as(tmp_path / "short-lived.safetensors")

    # Importing makes a new memory, and never takes the place of one.
    here.page.locator("#import").set_input_files(tmp_path / "short-lived.safetensors")
    expect(here.page.locator("#notice")).to_contain_text("There is a memory 'short-lived' already")
    here.refusals.add(412)
    unfold(here).fill("moved")
    here.page.locator("#import").set_input_files(tmp_path / "short-lived.safetensors")
    expect(here.page.locator("#memory")).to_have_value("moved")
    expect(card(here, "red")).to_contain_text("2 examples")
    here.page.locator("#import").set_input_files([payload(b"nothing", "broken file.safetensors", "")])
    here.refusals.add(400)
    expect(here.page.locator("#notice")).to_contain_text("file")
    expect(here.page.locator("#memory")).to_have_value("moved")

    here.page.get_by_role("button", name="Delete", exact=True).click()
    asked = here.page.get_by_role("dialog", name="Delete moved?")
    expect(asked).to_contain_text("2 examples")
    expect(asked).to_contain_text("Export keeps them in a file, with what is kept of their images.")
    here.page.keyboard.press("Escape")
    expect(here.page.locator("#memory")).to_have_value("moved")
    here.page.get_by_role("button", name="Delete", exact=True).click()
    here.page.get_by_role("button", name="Delete it").click()
    expect(here.page.locator("#memory")).not_to_have_value("moved")
    here.page.reload()
    expect(here.page.locator("#memory option", has_text="short-lived")).to_have_count(1)
    expect(here.page.locator("#memory option", has_text="moved")).to_have_count(0)


def test_a_memory_is_one_on_the_first_page_too(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "both-pages")
    add_class(here, "red", 2)
    add_class(here, "blue", 2)
    unfold(here).fill("both-pages")
    here.refusals.add(412)
    here.page.get_by_role("button", name="Make it").click()
    expect(here.page.locator("#notice")).to_contain_text("There is a memory 'both-pages' already")

    here.page.goto("/?model=both-pages")
    expect(here.page.locator("#model option:checked")).to_have_text("both-pages · memory")
    expect(here.page.locator("#facts")).to_contain_text("a memory · 2 classes")
    image = here.add(payload(coloured("red", 7), "rose.png")).first
    assert here.best(image) == "red"
    expect(image.locator(".timing")).to_contain_text("round trip")
    expect(image.get_by_role("button", name="Explain")).to_be_hidden()
    others = here.page.locator("#model option", has_not_text="memory")
    here.page.locator("#model").select_option(label=others.first.inner_text())
    expect(image.get_by_role("region", name="Explanation of rose.png")).to_be_visible()
    here.page.locator("#model").select_option(label="both-pages · memory")
    assert here.best(image) == "red"
    expect(image.locator(".more")).to_be_hidden()
    expect(here.page.locator("#curl")).to_contain_text("/v1/memories/both-pages/recall")
    here.page.get_by_role("link", name="teach it").click()
    expect(here.page.locator("#memory")).to_have_value("both-pages")
    expect(card(here, "blue")).to_contain_text("2 examples")


def test_a_slow_answer_about_one_memory_says_nothing_of_another(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "late")
    make(here, "waits")
    add_class(here, "red", 1)
    held: list[Route] = []
    here.page.route("**/v1/memories/late", lambda route: held.append(route))
    here.page.locator("#memory").select_option("late")
    here.pump_until(lambda: held)
    expect(here.page.locator("#open")).to_be_hidden()  # what is there is still the other's
    here.page.locator("#memory").select_option("waits")
    expect(card(here, "red")).to_be_visible()
    here.refusals.add(404)
    gone = {"type": "urn:ait:unknown-memory", "title": "Not Found", "status": 404, "detail": "There is none."}
    with here.page.expect_response("**/v1/memories/late"):
        held[0].fulfill(status=404, json=gone)
    for _ in range(5):  # what the page would ask now is answered before these
        here.page.evaluate("fetch('v1/memories').then((answer) => answer.text())")
    expect(here.page.locator("#memory")).to_have_value("waits")
    expect(here.page.locator("#notice")).to_be_hidden()
    expect(card(here, "red")).to_be_visible()


def test_a_file_that_comes_late_is_of_the_memory_that_was_asked_for(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "exported")
    make(here, "shown")
    add_class(here, "red", 1)
    held: list[Route] = []
    here.page.route("**/v1/memories/exported/file", lambda route: held.append(route))
    for number in range(2):
        here.page.locator("#memory").select_option("exported")
        expect(here.page.locator("#facts")).to_contain_text("Give it two classes")
        here.page.get_by_role("button", name="Export").click()
        here.pump_until(lambda number=number: len(held) > number)
        here.page.locator("#memory").select_option("shown")
        expect(card(here, "red")).to_be_visible()
    with here.page.expect_download() as download:
        held[0].continue_()
    assert download.value.suggested_filename == "exported.safetensors"
    here.refusals.add(404)
    gone = {"type": "urn:ait:unknown-memory", "title": "Not Found", "status": 404, "detail": "There is none."}
    held[1].fulfill(status=404, json=gone)
    expect(here.page.locator("#notice")).to_contain_text("The memory “exported” is no longer there")
    expect(here.page.locator("#memory")).to_have_value("shown")


def test_unknown_is_shown_and_broken_files_are_named(open_page: Callable[..., Visit], tmp_path: Path) -> None:
    here = open_page()
    make(here, "strangers")
    for label in ("red", "blue"):
        add_class(here, label, 11)
    here.page.locator("#files").set_input_files([payload(coloured("green", 3), "leaf.png")])
    answer = here.page.locator("#answers .card").first
    expect(answer.locator(".unknown")).to_contain_text("Unknown")
    expect(here.page.locator("#health")).to_contain_text("told right")
    here.page.get_by_label("New class").fill("text")
    here.page.locator("#add-files").set_input_files([payload(b"no image", "notes.txt", "text/plain")])
    expect(here.page.locator("#notice")).to_contain_text("notes.txt")
    expect(card(here, "text")).to_have_count(0)


def test_what_is_worth_a_look_is_corrected_on_the_spot(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "looked-at")
    add_class(here, "red", 6)
    add_class(here, "blue", 6)
    expect(here.page.locator("#look")).to_be_hidden()

    wrong = payload(coloured("blue", 20), "wrong.png")
    card(here, "red").locator("input").set_input_files([wrong])
    expect(here.page.locator("#confusions li")).to_have_text(["red taken for blue: 1 of 7"])
    expect(here.page.locator("#twins")).to_be_hidden()
    doubts = here.page.locator("#doubts")
    doubts.get_by_text("1 example more like another class").click()
    expect(doubts.locator(".finding")).to_contain_text("red, but more like blue")
    expect(doubts.locator("img")).to_have_js_property("naturalWidth", 24)
    doubts.get_by_role("button", name="is blue").click()
    expect(card(here, "blue")).to_contain_text("7 examples")
    expect(here.page.locator("#look")).to_be_hidden()
    here.page.get_by_role("button", name="Undo").click()
    expect(doubts.locator(".finding")).to_contain_text("red, but more like blue")
    doubts.get_by_role("button", name="Forget example").click()
    expect(card(here, "red")).to_contain_text("6 examples")

    # Another file, in which the same is to be seen.
    card(here, "red").locator("input").set_input_files([payload(coloured("red", 1) + b"\0", "again.png")])
    twins = here.page.locator("#twins")
    twins.get_by_text("1 pair of nearly the same image").click()
    expect(twins.locator(".finding")).to_contain_text("Both red: 100.0 % alike")
    twins.get_by_role("button", name="Forget example").first.click()
    expect(here.page.locator("#look")).to_be_hidden()
    expect(card(here, "red")).to_contain_text("6 examples")


def test_a_memory_says_that_it_is_nearly_full(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "narrow")

    def narrow(route: Route) -> None:
        answer = route.fetch()
        described = answer.json()
        described["limits"]["examples"] = 4
        route.fulfill(response=answer, json=described)

    here.page.route(re.compile("/v1/memories/narrow$"), narrow)
    add_class(here, "red", 3)
    expect(here.page.locator("#health")).to_contain_text("3 of 4 examples")
    expect(here.page.locator("#look")).to_be_hidden()
    card(here, "red").locator("input").set_input_files([payload(coloured("red", 9), "more.png")])
    expect(here.page.locator("#full")).to_have_text("Full: 4 of 4 examples.")


def test_scores_that_are_not_calibrated_say_so(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "sure")
    add_class(here, "red", 2)
    add_class(here, "blue", 2)
    here.page.locator("#files").set_input_files([payload(coloured("red", 9), "rose.png")])
    answer = here.page.locator("#answers .card")
    expect(answer).to_contain_text("not calibrated")
    for label in ("red", "blue"):
        more = [payload(coloured(label, number), f"{number}.png") for number in range(12)]
        card(here, label).locator("input").set_input_files(more)
        expect(card(here, label)).to_contain_text("12 examples")
    expect(answer).not_to_contain_text("not calibrated")
    expect(best(answer)).to_have_text("red")


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_on_a_phone_nothing_is_cut_off_or_hard_to_read(open_page: Callable[..., Visit], scheme: str) -> None:
    here = open_page(**PHONE, color_scheme=scheme)
    make(here, f"phone-{scheme}")
    add_class(here, "red", 6)
    add_class(here, "blue", 6)
    wrong = [payload(coloured("blue", 20), "wrong.png"), payload(coloured("red", 1) + b"\0", "again.png")]
    card(here, "red").locator("input").set_input_files(wrong)
    for findings in ("doubts", "twins"):
        here.page.locator(f"#{findings} summary").click()
        expect(here.page.locator(f"#{findings} .finding")).to_have_count(1)
    here.page.locator("#files").set_input_files([payload(coloured("red", 7), "a long name " * 10 + ".png")])
    expect(best(here.page.locator("#answers .card").first)).to_have_text("red")
    width = here.page.evaluate("document.documentElement.scrollWidth")
    assert width <= 360
    rules = {"runOnly": ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]}
    violations = Axe().run(here.page, options=rules).response["violations"]
    assert not violations, [(each["id"], [node["html"] for node in each["nodes"]]) for each in violations]


@pytest.fixture
def bundled_page(browser: Browser, tmp_path: Path) -> Iterator[Visit]:
    """The page of a server of the bundled model, with a store of its own."""
    settings = {"AIT_MODEL": NAME, "AIT_MEMORIES": str(tmp_path / "memories.sqlite3"), "AIT_TORCH_THREADS": "1"}
    with running_server(**settings) as (address, _), visits(browser, address) as opened:
        yield opened("/teach")


def test_a_memory_begins_with_what_the_model_knows(bundled_page: Visit, open_page: Callable[..., Visit]) -> None:
    here = bundled_page
    unfold(here).fill("begun")
    here.page.get_by_label("knows").select_option("what the model knows")
    here.page.get_by_role("button", name="Make it").click()
    expect(here.page.locator("#labels > li")).to_have_count(10)
    add_class(here, "red", 1)
    here.page.locator("#files").set_input_files([payload(coloured("red", 3), "red.png")])
    expect(here.page.locator("#answers .card").first).to_contain_text("nothing is called unknown")
    here.page.get_by_role("button", name="Forget the class ship").click()
    here.page.get_by_role("button", name="Forget it").click()
    expect(card(here, "ship")).to_have_count(0)

    other = open_page()  # its model has another head
    unfold(other)
    expect(other.page.get_by_label("keeps")).to_be_visible()
    expect(other.page.get_by_label("knows")).to_be_hidden()
