"""Images on the page: every way in, the answers, and what is said when there is none."""

from __future__ import annotations

import json
import re
from collections.abc import Callable

import pytest
from playwright.sync_api import Route, expect

from tests.support.page.browsing import PHONE, Visit, payload
from tests.support.page.ui_images import airplane, ship

pytestmark = pytest.mark.browser

VisitPage = Callable[..., Visit]


def test_a_image_is_classified(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    card = here.add(payload(ship(), "steamer.png"))
    assert here.best(card) == "ship"
    expect(card.locator("h3")).to_have_text("steamer.png")
    shares = [float(text.strip("%< \n")) for text in card.locator(".scores .percent").all_inner_texts()]
    assert len(shares) == 5
    assert shares == sorted(shares, reverse=True)
    expect(card.locator(".timing")).to_contain_text("round trip · queue ")
    widths = card.locator(".scores .fill").evaluate_all("(fills) => fills.map((fill) => parseFloat(fill.style.width))")
    assert widths == pytest.approx(shares, abs=0.06)


def test_several_images_keep_their_order(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.refusals |= {415, 422}
    here.add(payload(airplane("WEBP"), "late.webp", "image/webp"))
    cards = here.add(
        payload(ship("JPEG"), "<b>one</b>.jpg", "image/jpeg"),
        payload(b"no image", "notes.txt", "text/plain"),
        payload(airplane(), "two.png"),
        payload(ship()[:500], "torn.png"),
    )
    expect(here.page.locator("#progress")).to_have_text("5 images")
    assert cards.locator("h3").all_inner_texts() == ["<b>one</b>.jpg", "notes.txt", "two.png", "torn.png", "late.webp"]
    assert [here.best(cards.nth(index)) for index in (0, 2, 4)] == ["ship", "airplane", "airplane"]
    expect(cards.nth(1).locator(".error")).to_contain_text("Not an accepted ")
    expect(cards.nth(3).locator(".error")).to_contain_text(" cannot be decoded")
    assert cards.get_by_role("button", name="Try again").count() == 0

    here.page.get_by_role("button", name="Remove two.png").click()
    assert cards.locator("h3").all_inner_texts() == ["<b>one</b>.jpg", "notes.txt", "torn.png", "late.webp"]
    here.page.get_by_role("button", name="Remove all").click()
    expect(cards).to_have_count(0)
    assert "files" in here.focused()


@pytest.mark.parametrize("event", ["drop", "paste"])
def test_dropped_and_pasted(visit: VisitPage, event: str) -> None:
    here = visit().wait_for_model()
    here.transfer(event, airplane(), "plane.png", "image/png")
    assert here.best(here.cards) == "airplane"


def test_the_box_shows_that_it_takes_a_drop(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    for event, shown in [("dragenter", True), ("dragleave", False), ("dragenter", True), ("drop", False)]:
        here.transfer(event, airplane(), "plane.png", "image/png")
        assert ("over" in (here.page.locator("#drop").get_attribute("class") or "")) is shown


def test_the_camera(visit: VisitPage) -> None:
    here = visit(permissions=["camera"]).wait_for_model()
    here.page.get_by_role("button", name="Take an image").click()
    shoot = here.page.get_by_role("button", name="Take the image")
    expect(shoot).to_be_focused()
    live = "document.querySelector('#video').srcObject?.getTracks().some((each) => each.readyState === 'live')"
    assert here.page.evaluate(live)
    shoot.click()
    here.best(here.cards)
    expect(here.cards.locator("h3")).to_have_text("Camera image 1")
    here.pump_until(lambda: not here.page.evaluate(live))  # the dialog tells that it has closed a moment later
    here.page.get_by_role("button", name="Take an image").click()
    expect(shoot).to_be_enabled()
    here.page.keyboard.press("Escape")
    expect(here.page.locator("#camera")).not_to_be_visible()
    expect(here.cards).to_have_count(1)
    here.pump_until(lambda: not here.page.evaluate(live))  # the dialog tells that it has closed a moment later


def test_a_phone_takes_images_with_its_own_camera(visit: VisitPage) -> None:
    here = visit(**PHONE).wait_for_model()
    with here.page.expect_file_chooser() as choosing:
        here.page.get_by_role("button", name="Take an image").tap()
    assert choosing.value.element.get_attribute("capture") == "environment"
    choosing.value.set_files([payload(ship("JPEG"), "image.jpg", "image/jpeg")])
    assert here.best(here.cards) == "ship"


def test_too_large_is_said_before_anything_is_sent(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    sent: list[str] = []
    here.page.on("request", lambda request: sent.append(request.method))
    card = here.add(payload(bytes(1_500_000), "huge.png"))
    expect(card.locator(".error")).to_have_text(
        "The image is too largeThe file has 1.5 MB; at most 1 MB are accepted."
    )
    assert "POST" not in sent


@pytest.mark.parametrize("status", [429, 503])
def test_a_busy_server_is_asked_again(visit: VisitPage, status: int) -> None:
    here = visit().wait_for_model()
    here.refusals |= {status}
    problem = {"title": "Too much", "status": status, "detail": "The queue is full."}
    headers = {"Retry-After": "50", "Content-Type": "application/problem+json"}

    def refuse(route: Route) -> None:
        route.fulfill(status=status, headers=headers, body=json.dumps(problem))

    here.page.route("**/classify*", refuse, times=1)
    here.page.clock.install()
    card = here.add(payload(ship()))
    expect(card.locator(".busy")).to_contain_text("Waiting for the serverThe queue is full. Trying again in ")
    here.page.clock.run_for(51_000)
    assert here.best(card) == "ship"


def test_without_a_network(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.page.context.set_offline(True)
    card = here.add(payload(ship()))
    expect(card.locator(".error")).to_contain_text("The server cannot be reached")
    here.console.remove("Failed to load resource: net::ERR_INTERNET_DISCONNECTED")
    here.page.context.set_offline(False)
    card.get_by_role("button", name="Try again").click()
    assert here.best(card) == "ship"


def test_a_server_that_is_not_there_yet(visit: VisitPage) -> None:
    here = visit("/docs")
    here.page.route("**/v1/models", lambda route: route.abort())
    here.page.goto("/")
    expect(here.page.locator("#notice")).to_contain_text("The server cannot be reached")
    here.add(payload(ship()))
    here.page.unroute("**/v1/models")
    assert here.best(here.cards) == "ship"
    expect(here.page.locator("#notice")).not_to_be_visible()
    here.console = [line for line in here.console if "ERR_FAILED" not in line]


def test_a_server_that_asks_for_a_key(visit: VisitPage) -> None:
    here = visit("/docs")
    here.refusals = {401, 403}

    def gate(route: Route) -> None:
        given = route.request.headers.get("authorization")
        if given == "Bearer right":
            return route.continue_()
        kind, status = ("key-wrong", 403) if given else ("key-missing", 401)
        problem = {"type": f"urn:ait:{kind}", "title": "Key", "status": status, "detail": "Send a key."}
        return route.fulfill(status=status, content_type="application/problem+json", body=json.dumps(problem))

    here.page.route("**/v1/**", gate)
    here.page.goto("/")
    field = here.page.get_by_label("This server asks for a key")
    expect(field).to_be_focused()
    here.page.keyboard.type("wrong")
    here.page.keyboard.press("Enter")
    expect(here.page.locator("#key-note")).to_have_text("The server does not know this key.")
    expect(field).to_be_empty()
    field.fill(" right ")
    here.page.get_by_role("button", name="Use it").click()
    here.wait_for_model()
    expect(field).not_to_be_visible()
    expect(here.page.locator("#curl")).to_contain_text("-H 'Authorization: Bearer KEY'")
    assert here.best(here.add(payload(ship()))) == "ship"
    here.page.reload()  # the tab remembers it
    here.wait_for_model()


def test_models_and_versions(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    chooser = here.page.get_by_label("Model")
    names = chooser.locator("option").all_inner_texts()
    assert names == [
        "ait_tiny_patch4_32.cifar10",
        "colours · version 2",
        "colours · version 1",
        "broken · version 1 (unavailable)",
    ]
    assert chooser.input_value() == names[0]
    expect(here.page.locator("#facts")).to_contain_text("10 classes · sees 32 × 32 pixels")
    expect(here.page.locator("#others")).to_contain_text("broken, version 1 is unavailable.")
    card = here.add(payload(ship()))
    assert here.best(card) == "ship"
    asked = []
    here.page.on("request", lambda request: asked.append(request.url.removeprefix(here.url)))
    for name, path in [(names[1], "colours"), (names[2], "colours/versions/1")]:
        chooser.select_option(name)
        expect(card.locator(".scores:not(.empty) .name").first).to_have_text(re.compile("red|green|blue"))
        assert f"/v1/models/{path}/classify?top_k=5" in asked
