"""Explanations on the page: what is drawn is what the server says."""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from typing import Any

import httpx
import pytest
from playwright.sync_api import Locator, expect

from tests.support.page.browsing import Visit, payload
from tests.support.page.ui_images import airplane, ship
from tests.support.page.ui_models import NAME
from tests.support.processes.waiting import CEILING

pytestmark = pytest.mark.browser

VisitPage = Callable[..., Visit]
DARKEST, BRIGHTEST = [68, 1, 84], [253, 231, 37]
CLASSES = ["airplane", "automobile", "bird", "cat", "deer", "dog", "frog", "horse", "ship", "truck"]


@pytest.fixture(scope="module")
def told(url: str) -> dict[str, Any]:
    """What the server says about the ship."""
    answer = httpx.post(f"{url}/v1/models/{NAME}/explain", content=ship(), timeout=CEILING)
    return dict(answer.raise_for_status().json())


@pytest.fixture
def here(visit: VisitPage) -> Visit:
    """The page, with the ship explained."""
    page = visit(reduced_motion="reduce").wait_for_model()
    page.add(payload(ship(), "steamer.png"))
    expect(page.cards.get_by_role("grid")).to_be_visible()
    return page


def number(value: float) -> str:
    size = abs(value)
    text = f"{size:.{0 if size >= 100 else 1 if size >= 10 else 2}f}"
    return f"−{text}" if value < 0 and float(text) else text


def percent(share: float) -> str:
    return "<0.1 %" if 0 < share < 0.001 else f"{100 * share:.1f} %"


def colours(here: Visit) -> list[list[int]]:
    """Red, green, blue, alpha of each patch, as painted."""
    data = here.page.evaluate(
        """() => {
          const canvas = document.querySelector(".seen canvas");
          const copy = new OffscreenCanvas(canvas.width, canvas.height).getContext("2d", { willReadFrequently: true });
          copy.drawImage(canvas, 0, 0);
          return [...copy.getImageData(0, 0, canvas.width, canvas.height).data];
        }"""
    )
    return [data[start : start + 4] for start in range(0, len(data), 4)]


def patches(here: Visit) -> Locator:
    return here.cards.get_by_role("gridcell")


def show_block(here: Visit, index: int, kind: str) -> None:
    here.cards.get_by_role("radio", name="Memory").check()
    here.cards.get_by_role("slider").fill(str(index + 1))
    here.cards.get_by_role("radio", name=kind).check()


def test_the_map_of_the_best_class(here: Visit, told: dict[str, Any]) -> None:
    values = told["map"]["values"]
    said = [label.split(": ")[1] for label in patches(here).evaluate_all("(all) => all.map((each) => each.ariaLabel)")]
    assert len(said) == len(values) == 64
    for text, value in zip(said, values, strict=True):
        sign = "+" if value > 0 and float(number(value)) else ""
        assert text == f"{sign}{number(value)}, {'against' if value < 0 else 'for'} ship"
    for (red, _, blue, alpha), value in zip(colours(here), values, strict=True):
        assert alpha == pytest.approx(255 * 0.88 * (abs(value) / max(map(abs, values))) ** 0.8, abs=1)
        if alpha > 30:
            assert (red > blue) is (value > 0)
    without = told["without_memory"]
    expect(here.cards.locator(".view")).to_contain_text(
        f"a logit of {number(told['map']['logit'])}, and of {number(without['logit'])} "
        "if the blocks’ memories gave nothing."
    )
    expect(here.cards.locator(".why")).to_contain_text(
        f"the answer would still be ship, with {percent(without['labels'][0]['score'])}"
    )
    strongest = max(range(64), key=lambda index: abs(values[index]))
    expect(here.cards.locator(".patch h4")).to_have_text(f"Row {strongest // 8 + 1}, column {strongest % 8 + 1}")


def test_what_the_head_recalled_of_the_best_classes(here: Visit, told: dict[str, Any]) -> None:
    rows = here.cards.locator(".recalled li")
    expect(rows).to_have_count(3)
    for row, recall in zip(rows.all(), told["class_recall"], strict=False):
        most = max(recall["recalled"])
        strongest = f"{percent(most)} by prior {recall['recalled'].index(most) + 1} of 4"
        expect(row).to_have_text(f"{recall['label']}{percent(sum(recall['recalled']))}{strongest}")


def test_another_class(here: Visit) -> None:
    asked: list[str] = []
    here.page.on("request", lambda request: asked.append(request.url.rpartition("/")[2]))
    select = here.cards.get_by_role("combobox", name="Explain")
    assert sorted(select.locator("option").evaluate_all("(all) => all.map((each) => Number(each.value))")) == [
        *range(10)
    ]
    before = colours(here)
    select.select_option(str(CLASSES.index("frog")))
    expect(here.cards.locator(".view")).to_contain_text("Orange patches speak for frog, blue ones against it.")
    assert asked == ["explain?class=frog"]
    assert colours(here) != before
    select.select_option(str(CLASSES.index("ship")))
    expect(here.cards.locator(".view")).to_contain_text("Orange patches speak for ship")
    assert colours(here) == before


@pytest.mark.parametrize("index", [0, 3])
def test_energies_of_a_block(here: Visit, told: dict[str, Any], index: int) -> None:
    block = told["blocks"][index]
    energy = block["energy"]
    show_block(here, index, "Energy")
    assert here.cards.locator(".field .figure").first.inner_text() == f"{index + 1} of {len(told['blocks'])}"
    expect(here.cards.locator(".legend")).to_have_text(
        re.compile(f"^{number(min(energy))} low.*high {number(max(energy))}$")
    )
    painted = colours(here)
    assert painted[energy.index(min(energy))][:3] == pytest.approx(DARKEST, abs=2)
    assert painted[energy.index(max(energy))][:3] == pytest.approx(BRIGHTEST, abs=2)
    show_block(here, index, "Share")
    shares = [each[index] for each in block["responsibilities"]]
    assert colours(here)[shares.index(max(shares))][:3] == pytest.approx(BRIGHTEST, abs=2)

    for patch in (0, 27, 63):
        patches(here).nth(patch).hover()
        details = here.cards.locator(".patch")
        expect(details.locator("h4")).to_have_text(f"Row {patch // 8 + 1}, column {patch % 8 + 1}")
        path = " → ".join(number(each["energy"][patch]) for each in told["blocks"])
        expect(details.locator("p").first).to_have_text(f"Energy {path}")
        of_blocks = ", ".join(percent(share) for share in block["responsibilities"][patch])
        expect(details.locator("p").nth(1)).to_have_text(f"Shares of the blocks: {of_blocks}")
        recalled = [f"Prior {prior}{percent(weight)}" for prior, weight in block["recalled"][patch]]
        assert [each.replace("\n", "") for each in details.locator("li").all_inner_texts()] == recalled


def test_priors_of_a_block(here: Visit, told: dict[str, Any]) -> None:
    show_block(here, 2, "Prior")
    leading = [recalled[0][0] for recalled in told["blocks"][2]["recalled"]]
    painted = [tuple(colour) for colour in colours(here)]
    assert len(set(painted)) == len(set(leading))
    for index, prior in enumerate(leading):
        assert painted[index] == painted[leading.index(prior)]
    patches(here).nth(10).click()
    expect(here.cards.locator(".mate")).to_have_count(leading.count(leading[10]))
    here.page.mouse.move(0, 0)  # what was clicked stays when the pointer leaves
    expect(here.cards.locator(".patch h4")).to_have_text("Row 2, column 3")


def test_the_map_lies_on_what_the_model_saw(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.add(payload(ship("JPEG", (900, 300)), "wide.jpg"))
    whole = here.cards.locator(".frame img").bounding_box()
    expect(here.cards.locator(".frame img")).to_have_js_property("complete", True)
    whole, seen = (here.cards.locator(each).bounding_box() for each in (".frame img", ".seen"))
    assert whole
    assert seen
    assert whole["width"] == pytest.approx(3 * whole["height"], rel=0.02)
    assert seen["width"] == pytest.approx(seen["height"], rel=0.02)
    assert seen["x"] - whole["x"] == pytest.approx(whole["width"] / 3, rel=0.02)


def test_training_images_like_it(here: Visit, told: dict[str, Any]) -> None:
    rows = here.cards.locator(".kin")
    assert rows.locator("h5 .name").all_inner_texts() == [each["label"] for each in told["examples"]]
    assert len(told["examples"]) == 3
    for row, each in zip(rows.all(), told["examples"], strict=True):
        images = row.locator("img")
        names = [
            f"{each['label']}: {near['name']}, similarity {number(near['similarity'])}" for near in each["nearest"]
        ]
        assert images.evaluate_all("(all) => all.map((image) => image.alt)") == names
        for image in images.all():
            expect(image).not_to_have_js_property("naturalWidth", 0)


def test_of_several_images_those_that_are_asked_for(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    cards = here.add(payload(ship(), "one.png"), payload(airplane(), "two.png"))
    expect(here.page.locator("#progress")).to_have_text("2 images")
    expect(here.page.get_by_role("grid")).to_have_count(0)
    cards.nth(1).get_by_role("button", name="Explain").click()
    expect(cards.nth(1).locator(".view")).to_contain_text("Orange patches speak for airplane")
    expect(here.page.get_by_role("grid")).to_have_count(1)


def test_a_model_without_a_memory(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.page.get_by_label("Model").select_option("colours · version 2")
    card = here.add(payload(ship(), "one.png"))
    expect(card.locator(".why")).to_contain_text("This model has no associative memory to look into")
    expect(card.get_by_role("grid")).to_be_visible()
    expect(card.get_by_role("radio")).to_have_count(0)


def test_a_model_without_maps(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.page.get_by_label("Model").select_option("colours · version 1")
    card = here.add(payload(ship(), "one.png"))
    expect(card.locator(".why")).to_contain_text("cannot say what each part of the image contributes; AiT models can.")
    expect(card.locator(".why")).to_contain_text("No training images are kept with this model.")
    expect(here.page.get_by_role("grid")).to_have_count(0)
    second = here.add(payload(airplane(), "two.png")).first  # need not be told twice
    here.best(second)
    expect(second.get_by_role("button", name="Explain")).to_have_attribute("aria-expanded", "false")
    here.page.get_by_label("Model").select_option(NAME)
    expect(card.last.locator(".view")).to_contain_text("Orange patches speak for ship")


def test_a_model_that_cannot_be_explained_is_no_alarm(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.refusals = {400}
    problem = {"type": "urn:ait:no-explanation", "title": "Bad Request", "detail": "Model odd cannot be explained."}
    answer = {"status": 400, "content_type": "application/problem+json", "body": json.dumps(problem)}
    here.page.route("**/explain", lambda route: route.fulfill(**answer), times=1)
    card = here.add(payload(ship()))
    expect(card.locator(".why")).to_have_text("Model odd cannot be explained.")
    expect(card.locator(".error")).to_have_count(0)


def test_an_explanation_that_fails(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.page.route("**/explain", lambda route: route.abort(), times=1)
    card = here.add(payload(ship()))
    expect(card.locator(".why .error")).to_contain_text("The server cannot be reached")
    here.console.remove("Failed to load resource: net::ERR_FAILED")
    card.get_by_role("button", name="Try again").click()
    expect(card.get_by_role("grid")).to_be_visible()
    expect(card.locator(".why .error")).to_have_count(0)
