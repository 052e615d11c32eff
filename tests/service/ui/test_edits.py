"""Changes on the page of memories, and their way back."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.support.page.browsing import Visit, payload
from tests.support.page.teach_page import add_class, card, make, unfold
from tests.support.servers.memories_client import coloured

pytestmark = pytest.mark.browser


def test_what_another_tab_has_deleted_is_gone(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "goes")
    add_class(here, "red", 2)
    there = open_page()
    here.refusals.add(404)
    there.page.locator("#memory").select_option("goes")
    expect(card(there, "red")).to_contain_text("2 examples")
    there.page.get_by_role("button", name="Delete", exact=True).click()
    there.page.get_by_role("button", name="Delete it").click()
    expect(there.page.locator("#memory")).not_to_have_value("goes")

    here.page.get_by_label("New class").fill("green")
    here.page.locator("#add-files").set_input_files([payload(coloured("green", 1), "leaf.png")])
    expect(here.page.locator("#notice")).to_contain_text("“goes” is no longer there")
    expect(here.page.locator("#memory")).not_to_have_value("goes")
    expect(here.page.get_by_label("New class")).to_have_value("green")

    make(here, "brief")
    there.page.reload()
    there.page.locator("#memory").select_option("brief")
    expect(there.page.locator("#open")).to_be_visible()
    here.page.get_by_role("button", name="Delete", exact=True).click()
    there.page.get_by_role("button", name="Delete", exact=True).click()
    for visit in (here, there):  # what is gone already is deleted all the same
        visit.page.get_by_role("button", name="Delete it").click()
        expect(visit.page.locator("#memory")).not_to_have_value("brief")
    there.refusals.add(404)
    there.page.goto("/teach?memory=brief")
    expect(there.page.locator("#notice")).to_contain_text("There is no memory “brief”")


def test_a_memory_that_is_deleted_and_not_erased_yet_is_gone_too(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "held")
    problem = {"type": "urn:ait:not-erased", "title": "Not erased yet", "status": 500, "detail": "A reader is there."}

    def answer(route: Route) -> None:
        if route.request.method == "DELETE":
            route.fetch()  # which deletes it
            route.fulfill(status=500, json=problem)
        else:
            route.continue_()

    here.page.route("**/v1/memories/held", answer)
    here.refusals.add(500)
    here.page.get_by_role("button", name="Delete", exact=True).click()
    here.page.get_by_role("button", name="Delete it").click()
    expect(here.page.locator("#notice")).to_have_text("Not erased yet: A reader is there.")
    expect(here.page.locator("#memory option", has_text="held")).to_have_count(0)


def test_what_is_being_shown_of_forgotten_examples_is_not_asked_for(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "slow-images")
    add_class(here, "red", 2)
    asked: list[Route] = []
    holding = True

    def hold(route: Route) -> None:
        if holding:
            asked.append(route)
        else:
            route.continue_()

    here.page.route("**/examples/*image=thumbnail", hold)
    card(here, "red").get_by_text("Its images").click()
    expect(card(here, "red").locator(".thumbs li")).to_have_count(2)
    here.pump_until(lambda: len(asked) == 2)
    given_up: list[str] = []
    here.page.on("requestfailed", lambda request: given_up.append(request.url))
    here.page.get_by_role("button", name="Forget the class red").click()
    holding = False
    here.page.get_by_role("button", name="Forget it").click()
    expect(card(here, "red")).to_have_count(0)
    assert sorted(given_up) == sorted(route.request.url for route in asked)


def test_a_class_is_forgotten_with_what_is_not_of_it(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "negatives")
    add_class(here, "red", 2)
    add_class(here, "blue", 2)
    here.page.locator("#files").set_input_files([payload(coloured("red", 9), "no.png")])
    here.page.get_by_role("button", name="It is not red").click()
    expect(card(here, "red")).to_contain_text("2 examples · 1 of what it is not")
    # A class of which there is nothing else can be seen, and forgotten.
    here.refusals.add(404)  # the page may be about to show what is forgotten behind its back
    here.page.evaluate("fetch('v1/memories/negatives/examples?label=red', { method: 'DELETE' })")
    here.page.reload()
    expect(card(here, "red")).to_contain_text("0 examples · 1 of what it is not")
    card(here, "red").locator("input").set_input_files([payload(coloured("red", 1), "red.png")])
    expect(card(here, "red")).to_contain_text("1 example · 1 of what it is not")

    here.page.get_by_role("button", name="Forget the class red").click()
    dialog = here.page.get_by_role("dialog", name="Forget red?")
    expect(dialog).to_contain_text("It has 1 example, and 1 of what it is not.")
    dialog.get_by_role("button", name="Forget it").click()
    expect(card(here, "red")).to_have_count(0)
    expect(here.page.locator("#health")).to_contain_text("2 of 100,000 examples")
    # Of this class there is nothing that says what it is not.
    here.page.get_by_role("button", name="Forget the class blue").click()
    here.page.get_by_role("button", name="Forget it").click()
    expect(here.page.locator("#health")).to_contain_text("0 of 100,000 examples")


def test_undo_puts_back_what_was(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "undone")
    add_class(here, "red", 3)
    add_class(here, "blue", 3)
    undo = here.page.get_by_role("button", name="Undo")

    # An image that is there gets another label.
    here.page.locator("#files").set_input_files([payload(coloured("red", 0), "known.png")])
    here.page.locator("#answers").get_by_role("button", name="It is blue").click()
    expect(card(here, "blue")).to_contain_text("4 examples")
    undo.click()
    expect(card(here, "red")).to_contain_text("3 examples")
    expect(card(here, "blue")).to_contain_text("3 examples")
    expect(undo).to_be_hidden()

    # So do two of three that are taught; the other one is new.
    files = [payload(coloured("red", number), f"{number}.png") for number in (1, 2, 5)]
    card(here, "blue").locator("input").set_input_files(files)
    expect(card(here, "blue")).to_contain_text("6 examples")
    undo.click()
    expect(card(here, "red")).to_contain_text("3 examples")
    expect(card(here, "blue")).to_contain_text("3 examples")

    # What is forgotten is taught again, as what it was.
    here.page.locator("#answers").get_by_role("button", name="It is not red").click()
    expect(card(here, "red")).to_contain_text("2 examples · 1 of what it is not")
    card(here, "red").get_by_text("Its images").click()
    card(here, "red").locator("li", has_text="not red").get_by_role("button", name="Forget").click()
    expect(card(here, "red")).not_to_contain_text("of what it is not")
    undo.click()
    expect(card(here, "red")).to_contain_text("2 examples · 1 of what it is not")

    # A page that has never had the image says before that it cannot.
    here.page.reload()
    card(here, "blue").get_by_text("Its images").click()
    card(here, "blue").get_by_role("button", name="Forget example").first.click()
    dialog = here.page.get_by_role("dialog", name="Forget this example?")
    expect(dialog).to_contain_text("It cannot be taken back")
    here.page.keyboard.press("Escape")
    expect(card(here, "blue")).to_contain_text("3 examples")
    card(here, "blue").get_by_role("button", name="Forget example").first.click()
    dialog.get_by_role("button", name="Forget it").click()
    expect(card(here, "blue")).to_contain_text("2 examples")
    expect(undo).to_be_hidden()


def test_what_is_forgotten_comes_back_from_kept_images(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    unfold(here)
    here.page.get_by_label("keeps").select_option("whole images")
    make(here, "keeps-all")
    add_class(here, "red", 2)
    here.page.reload()
    card(here, "red").get_by_text("Its images").click()
    card(here, "red").get_by_role("button", name="Forget example").first.click()
    expect(card(here, "red")).to_contain_text("1 example")
    here.page.get_by_role("button", name="Undo").click()
    expect(card(here, "red")).to_contain_text("2 examples")
    card(here, "red").locator("input").set_input_files([payload(coloured("red", n), f"{n}.png") for n in (0, 1)])
    expect(here.page.locator("#announcements")).to_contain_text("2 images taught as red")
    expect(card(here, "red")).to_contain_text("2 examples")


def test_a_class_that_is_forgotten_comes_back(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "returning")
    add_class(here, "red", 3)
    add_class(here, "blue", 2)
    here.page.locator("#files").set_input_files([payload(coloured("red", 9), "no.png")])
    here.page.get_by_role("button", name="It is not red").click()
    expect(card(here, "red")).to_contain_text("3 examples · 1 of what it is not")
    here.page.get_by_role("button", name="Forget the class red").click()
    expect(here.page.get_by_role("dialog")).to_contain_text("Until the next change, Undo puts them back.")
    here.page.get_by_role("button", name="Forget it").click()
    expect(card(here, "red")).to_have_count(0)
    here.page.get_by_role("button", name="Undo").click()
    expect(card(here, "red")).to_contain_text("3 examples · 1 of what it is not")

    here.page.reload()  # now the page has none of the images, and the memory keeps thumbnails
    here.page.get_by_role("button", name="Forget the class blue").click()
    expect(here.page.get_by_role("dialog")).to_contain_text("Nothing of them is left then.")
    here.page.get_by_role("button", name="Forget it").click()
    expect(card(here, "blue")).to_have_count(0)
    expect(here.page.get_by_role("button", name="Undo")).to_be_hidden()


def test_a_question_is_asked_at_once_and_ends_with_what_was_looked_up(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "asking")
    add_class(here, "red", 2)
    held: list[Route] = []
    here.page.route("**/examples?limit=*", lambda route: held.append(route) if len(held) < 4 else route.continue_())
    ask = here.page.get_by_role("button", name="Forget the class red")
    dialog = here.page.get_by_role("dialog", name="Forget red?")
    ask.click()
    here.page.keyboard.press("Escape")
    expect(dialog).not_to_be_visible()
    ask.click()
    expect(dialog).to_have_text(re.compile(r"It has 2 examples\.\s*Keep it"))
    here.pump_until(lambda: len(held) == 4)
    for route in held:  # the first two are of the question that was taken back
        route.continue_()
    back = "Until the next change, Undo puts them back."
    expect(dialog).to_have_text(re.compile(rf"It has 2 examples\. {back}\s*Keep it"))
    dialog.get_by_role("button", name="Forget it").click()
    expect(card(here, "red")).to_have_count(0)


def test_saying_what_an_image_is_not_loses_nothing_when_it_fails(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "careful")
    add_class(here, "red", 3)
    add_class(here, "blue", 3)
    sent: list[str] = []
    here.page.on("request", lambda request: sent.append(request.method) if "/examples" in request.url else None)
    fails = {"type": "urn:ait:broken", "title": "Broken", "status": 500, "detail": "It failed."}

    def fail(route: Route) -> None:
        if route.request.method in ("PATCH", "PUT"):
            route.fulfill(status=500, json=fails)
        else:
            route.continue_()

    here.page.route("**/examples/*", fail)
    here.refusals.add(500)
    for number in (0, 9):  # one that it has been taught as red, and one that it has not
        here.page.locator("#files").set_input_files([payload(coloured("red", number), f"{number}.png")])
        here.page.locator("#answers .card").first.get_by_role("button", name="It is not red").click()
        expect(here.page.locator("#notice")).to_have_text("Broken: It failed.")
        expect(card(here, "red")).to_contain_text("3 examples")
        expect(card(here, "red")).not_to_contain_text("of what it is not")
        here.page.evaluate("document.getElementById('notice').textContent = ''")
    assert {"PATCH", "PUT"} <= set(sent) <= {"GET", "PATCH", "PUT"}  # never taught as what it is not

    here.page.unroute("**/examples/*")
    here.page.locator("#answers .card").last.get_by_role("button", name="It is not red").click()
    expect(card(here, "red")).to_contain_text("2 examples · 1 of what it is not")
    assert set(sent) <= {"GET", "PATCH", "PUT"}
    here.page.get_by_role("button", name="Undo").click()
    expect(card(here, "red")).to_contain_text("3 examples")


def test_many_files_go_in_parts(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "many")
    held: list[Route] = []
    here.page.route("**/examples?label=*", lambda route: held.append(route))
    here.page.get_by_label("New class").fill("red")
    files = [payload(coloured("red", number), f"{number}.png") for number in range(110)]
    here.page.locator("#add-files").set_input_files(files)
    progress = here.page.locator("#progress")
    for done in (0, 50, 100):
        here.pump_until(lambda: held)
        expect(progress).to_have_text(f"Teaching red: {done} of 110 images")
        if done == 50:
            detail = "It is too large."
            held.pop().fulfill(status=413, json={"title": "Too large", "status": 413, "detail": detail})
        else:
            held.pop().continue_()
    here.refusals.add(413)
    expect(card(here, "red")).to_contain_text("60 examples")
    expect(here.page.locator("#notice")).to_have_text("50.png, 51.png and 48 others: It is too large.")
    expect(progress).to_be_hidden()

    # What was taught in all parts is taken back at once.
    here.page.route("**/examples/*", lambda route: held.append(route))
    here.page.get_by_role("button", name="Undo").click()
    here.pump_until(lambda: held)
    expect(progress).to_have_text("Undoing: 0 of 60 images")
    here.page.unroute("**/examples/*")
    held.pop().continue_()
    expect(card(here, "red")).to_have_count(0)
    expect(progress).to_be_hidden()
