"""Results of many images: the table, filters, downloads; two models side by side; images to try."""

from __future__ import annotations

import csv
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.service.ui.test_accessibility import check_accessible
from tests.support.images.service_images import encode, scene
from tests.support.page.browsing import PHONE, Visit, payload
from tests.support.page.ui_images import airplane, ship

pytestmark = pytest.mark.browser

VisitPage = Callable[..., Visit]
IMAGE = encode(scene(8, 8))


def answer_in_turn(here: Visit) -> None:
    """Have images told to be cat with 1 %, dog with 2 %, cat with 3 % and so on, up to 100 % and again."""
    here.page.evaluate(
        """() => {
          const ask = fetch;
          let asked = 0;
          window.fetch = async (path, options) => {
            if (!path.includes("/classify") || options.body.type !== "image/png") return ask(path, options);
            const score = ((asked % 100) + 1) / 100;
            const best = { label: ["cat", "dog"][asked++ % 2], score };
            const labels = [best, { label: 'other, "x"', score: 1 - score }];
            return Response.json({ predictions: [{ labels }], timing_ms: { queue: 1, decode: 1, infer: 1 } });
          };
        }"""
    )


def add_many(here: Visit, count: int) -> None:
    here.page.evaluate(
        """([bytes, count]) => {
          const transfer = new DataTransfer();
          for (let number = 0; number < count; number++) {
            transfer.items.add(new File([Uint8Array.from(bytes)], `image-${number}.png`, { type: "image/png" }));
          }
          const input = document.querySelector("#files");
          input.files = transfer.files;
          input.dispatchEvent(new Event("change"));
        }""",
        [list(IMAGE), count],
    )
    expect(here.page.locator("#progress")).to_have_text(f"{count} images")


def rows(here: Visit) -> list[list[str]]:
    """The rows in view, each with its name, class and confidence."""
    found: list[list[str]] = here.page.locator(".table-sizer .table-row").evaluate_all(
        "(rows) => rows.map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    return found


def downloaded(here: Visit, button: str) -> Path:
    with here.page.expect_download() as download:
        here.page.get_by_role("button", name=f"Download as {button}").click()
    return Path(download.value.path())


def test_hundreds_of_images_are_a_table_of_bounded_height(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    answer_in_turn(here)
    add_many(here, 500)
    table = here.page.get_by_role("table", name="Results")
    expect(table).to_have_attribute("aria-rowcount", "501")
    assert here.page.evaluate("() => document.documentElement.scrollHeight") < 2500
    assert len(rows(here)) < 40
    expect(here.cards).to_have_count(0)

    table.get_by_role("button", name="Confidence").click()  # the highest first
    assert rows(here)[0][2] == "100.0 %"
    table.get_by_role("button", name="Image", exact=True).click()
    here.page.locator(".table-body").evaluate("(body) => body.scrollTo(0, 1e6)")
    expect(here.page.get_by_role("button", name="image-499.png")).to_be_visible()
    here.page.get_by_role("button", name="image-499.png").click()
    expect(here.cards.locator("h3")).to_have_text("image-499.png")
    here.page.get_by_role("button", name="Remove image-499.png").click()
    expect(table).to_have_attribute("aria-rowcount", "500")

    here.page.get_by_role("radio", name="Cards").check(force=True)
    expect(here.cards).to_have_count(20)
    here.page.get_by_role("button", name="Show more").click()
    expect(here.cards).to_have_count(40)


def test_results_are_filtered_and_downloaded(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.refusals = {415}
    answer_in_turn(here)
    add_many(here, 60)
    here.page.get_by_label("Class", exact=True).select_option("dog (30)")
    here.page.get_by_label("Confidence from").fill("31")
    here.page.get_by_label("to", exact=True).fill("40")
    expect(here.page.locator("#progress")).to_have_text("60 images · 5 shown")
    expect(here.page.locator(".table-sizer .table-row")).to_have_count(5)
    assert sorted(score for _, _, score in rows(here)) == ["32.0 %", "34.0 %", "36.0 %", "38.0 %", "40.0 %"]

    lines: list[dict[str, Any]] = list(csv.DictReader(downloaded(here, "CSV").read_text().splitlines()))
    assert len(lines) == 5
    assert {line["label"] for line in lines} == {"dog"}
    assert all(0.31 <= float(line["score"]) <= 0.4 for line in lines)
    listed = json.loads(downloaded(here, "JSON").read_text())
    assert [each["file"] for each in listed] == [line["file"] for line in lines]
    assert listed[0]["answers"][0]["labels"][1]["label"] == 'other, "x"'

    here.page.get_by_label("Confidence from").fill("")
    here.page.get_by_label("to", exact=True).fill("")
    here.add(payload(b"text", 'a "strange", name.txt', "text/plain"))
    here.page.get_by_label("Class", exact=True).select_option("no answer (1)")
    expect(here.page.locator("#progress")).to_have_text("61 images · 1 shown")
    (line,) = csv.DictReader(downloaded(here, "CSV").read_text().splitlines())
    assert line["file"] == 'a "strange", name.txt'
    assert line["label"] == ""
    assert "Not an accepted" in line["error"]


def test_the_table_by_keyboard(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    answer_in_turn(here)
    add_many(here, 60)
    press = here.page.keyboard.press
    here.page.get_by_role("button", name="image-0.png").focus()
    for key, name in [("ArrowDown", 1), ("PageDown", 11), ("End", 59), ("ArrowDown", 59), ("Home", 0), ("ArrowUp", 0)]:
        press(key)
        expect(here.page.get_by_role("button", name=f"image-{name}.png", exact=True)).to_be_focused()
    press("Shift+Tab")
    assert "Confidence" in here.focused()  # one stop for all rows
    press("Tab")
    press("Enter")
    expect(here.cards.locator("h3")).to_have_text("image-0.png")
    expect(here.page.get_by_role("button", name="image-0.png", exact=True)).to_be_focused()


def test_two_models_side_by_side(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.add(payload(ship(), "steamer.png"), payload(airplane(), "plane.png"))
    here.page.get_by_label("Beside it").select_option("colours · version 2")
    card = here.cards.first
    expect(card.locator(".answer h4")).to_have_text(["ait_tiny_patch4_32.cifar10", "colours"])
    expect(card.locator(".scores:not(.empty)")).to_have_count(2)
    first, second = (each.inner_text() for each in card.locator(".scores li:first-child .name").all())
    assert first == "ship"
    assert re.fullmatch("red|green|blue", second)
    here.page.get_by_role("radio", name="Table").check(force=True)
    here.page.get_by_label("only where they differ").check()
    expect(here.page.locator(".table-sizer .table-row")).to_have_count(2)
    (line, _) = csv.DictReader(downloaded(here, "CSV").read_text().splitlines())
    assert (line["label"], line["model_2"], line["version_2"], line["label_2"]) == ("ship", "colours", "2", second)
    own = here.page.get_by_label("Beside it").get_by_role("option", name="ait_tiny_patch4_32.cifar10")
    expect(own).to_be_disabled()
    here.page.get_by_label("Model").select_option(
        "colours · version 2"
    )  # which stood beside it, and not beside itself
    expect(here.page.get_by_label("Beside it")).to_have_value("no other model")
    expect(own).to_be_enabled()
    here.page.get_by_label("Model").select_option("ait_tiny_patch4_32.cifar10")
    expect(here.page.get_by_label("only where they differ")).not_to_be_visible()
    expect(here.page.locator(".table-sizer .table-row").first).to_have_text(re.compile(r"steamer\.pngship9\d\.\d %"))


def test_images_to_try(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    expect(here.page.locator("#curl")).to_contain_text(f"{here.url}/v1/models/")
    for name, best in (("Ship", "ship"), ("Airplane", "airplane")):
        here.page.get_by_role("button", name=name, exact=True).click()
        expect(here.cards.first.locator("h3")).to_have_text(f"{best}.webp")
        assert here.best(here.cards.first) == best


def test_a_reload_keeps_the_images_and_the_choice(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.page.get_by_label("Model").select_option("colours · version 1")
    here.page.get_by_label("Beside it").select_option("colours · version 2")
    here.add(payload(ship(), "first.png"))
    here.add(payload(ship("JPEG"), "second.jpg", "image/jpeg"), payload(airplane(), "third.png"))
    names = here.cards.locator("h3")
    here.page.get_by_role("button", name="Remove second.jpg").click()
    expect(names).to_have_text(["third.png", "first.png"])
    expect(here.cards.locator(".scores:not(.empty)")).to_have_count(4)
    told = here.cards.locator(".answer").all_inner_texts()

    here.page.reload()
    expect(names).to_have_text(["third.png", "first.png"])
    expect(here.cards.locator(".scores:not(.empty)")).to_have_count(4)
    assert here.cards.locator(".answer").all_inner_texts() == told
    expect(here.page.get_by_label("Model")).to_have_value("colours · version 1")
    expect(here.page.get_by_label("Beside it")).to_have_value("colours · version 2")

    here.page.get_by_role("button", name="Remove all").click()
    here.page.get_by_label("Beside it").select_option("no other model")
    here.page.reload()
    here.wait_for_model()
    here.add(payload(ship(), "fourth.png"))
    expect(names).to_have_text("fourth.png")
    expect(here.page.get_by_label("Beside it")).to_have_value("no other model")
    beside = here.page.context.new_page()  # another tab has images of its own
    beside.goto("/")
    expect(beside.locator("#about")).to_be_visible()
    beside.locator("#files").set_input_files([payload(airplane(), "fifth.png")])
    expect(beside.locator(".card h3")).to_have_text("fifth.png")


def test_what_was_removed_stays_away_though_the_page_is_left_at_once(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.add(payload(ship(), "first.png"))
    here.add(payload(airplane(), "second.png"))
    expect(here.cards.locator(".scores:not(.empty)")).to_have_count(2)
    # As a reload in the middle does: what has begun to be deleted is undone.
    here.page.evaluate(
        "() => { IDBObjectStore.prototype.delete = function () { this.transaction.abort(); window.undone = true; } }"
    )
    here.page.get_by_role("button", name="Remove first.png").click()
    here.pump_until(lambda: here.page.evaluate("window.undone"))
    here.page.reload()
    expect(here.cards.locator("h3")).to_have_text(["second.png"])
    here.page.reload()
    expect(here.cards.locator("h3")).to_have_text(["second.png"])


@pytest.mark.parametrize("device", ["desktop", "phone"])
def test_the_table_is_accessible(visit: VisitPage, device: str) -> None:
    here = visit(**(PHONE if device == "phone" else {})).wait_for_model()
    answer_in_turn(here)
    here.page.get_by_label("Beside it").select_option("colours · version 2")
    add_many(here, 15)
    here.page.get_by_role("button", name="image-3.png").click()
    check_accessible(here, "light")
    check_accessible(here, "dark")


def test_what_is_added_while_the_browser_looks_up_what_was_there_comes_once(visit: VisitPage) -> None:
    here = visit().wait_for_model()
    here.add(payload(ship(), "first.png"))
    expect(here.cards.locator(".scores:not(.empty)")).to_have_count(1)
    # The first transaction of the page, which holds up all others for as long as it has something to do.
    here.page.add_init_script(
        """
        const request = indexedDB.open("ait", 1);
        request.onsuccess = () => {
          const store = request.result.transaction("images", "readwrite").objectStore("images");
          const hold = () => { if (!window.released) store.count().onsuccess = hold; };
          hold();
        };
        """
    )
    here.page.reload()
    here.wait_for_model()
    here.add(payload(airplane(), "second.png"))
    names = here.cards.locator("h3")
    expect(names).to_have_text(["second.png"])
    here.page.evaluate("() => { window.released = true; }")
    expect(names).to_have_text(["second.png", "first.png"])
