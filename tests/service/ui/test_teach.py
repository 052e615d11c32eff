"""Teaching on the page: make a memory, show it classes, ask, correct, forget."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Locator, Route, expect

from tests.support.browsing import PHONE, Visit, payload
from tests.support.memories_client import coloured
from tests.support.running_server import running_server

pytestmark = pytest.mark.browser


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, model_folder: Path) -> Iterator[str]:
    store = tmp_path_factory.mktemp("store") / "memories.sqlite3"
    with running_server(AIT_MODEL=str(model_folder), AIT_MEMORIES=str(store), AIT_TORCH_THREADS="1") as (address, _):
        yield address


@pytest.fixture
def open_page(browser: Browser, server: str) -> Iterator[Callable[..., Visit]]:
    visits: list[Visit] = []

    def visit(**options: object) -> Visit:
        visits.append(Visit(browser, server, "/teach", **options))
        return visits[-1]

    yield visit
    for each in visits:
        each.close()
        each.check()


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
    expect(here.page.get_by_role("dialog", name="Delete moved?")).to_contain_text("2 examples")
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


def test_a_class_is_forgotten_with_what_is_not_of_it(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "negatives")
    add_class(here, "red", 2)
    add_class(here, "blue", 2)
    here.page.locator("#files").set_input_files([payload(coloured("red", 9), "no.png")])
    here.page.get_by_role("button", name="It is not red").click()
    expect(card(here, "red")).to_contain_text("2 examples · 1 of what it is not")
    # A class of which there is nothing else can be seen, and forgotten.
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


def test_saying_what_an_image_is_not_loses_nothing_when_it_fails(open_page: Callable[..., Visit]) -> None:
    here = open_page()
    make(here, "careful")
    add_class(here, "red", 3)
    add_class(here, "blue", 3)
    sent: list[str] = []
    here.page.on("request", lambda request: sent.append(request.method) if "/examples" in request.url else None)
    fails = {"type": "urn:ait:broken", "title": "Broken", "status": 500, "detail": "It failed."}

    def fail(route: Route) -> None:
        if route.request.method == "PATCH":
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
    assert sent.count("POST") == sent.count("DELETE") == 1  # for the second

    here.page.unroute("**/examples/*")
    here.page.locator("#answers .card").last.get_by_role("button", name="It is not red").click()
    expect(card(here, "red")).to_contain_text("2 examples · 1 of what it is not")
    assert sent.count("POST") == 1
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
