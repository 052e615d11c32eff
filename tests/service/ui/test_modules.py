"""Parts of the page that are functions, run in the browser as the page runs them."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.page.browsing import Visit

pytestmark = pytest.mark.browser


@pytest.fixture
def run(visit: Callable[..., Visit]) -> Callable[[str, str], Any]:
    """Runs an expression with the exports of a module in `it`."""
    page = visit("/docs").page

    def evaluate(module: str, expression: str) -> Any:
        return page.evaluate(f"async () => {{ const it = await import('/ui/{module}.js'); return {expression}; }}")

    return evaluate


def test_numbers_as_people_read_them(run: Callable[[str, str], Any]) -> None:
    assert run("common/format", "[1, 0.9731, 0.001, 0.0004, 0].map(it.percent)") == [
        "100.0 %",
        "97.3 %",
        "0.1 %",
        "<0.1 %",
        "0.0 %",
    ]
    assert run("common/format", "[1e9, 20e6, 1.5e6, 950, 0].map(it.bytes)") == [
        "1 GB",
        "20 MB",
        "1.5 MB",
        "1 kB",
        "0 kB",
    ]
    assert run("common/format", "[126.4, 12.34, 0.123, -0.123, -0.001, 0].map(it.signed)") == [
        "+126",
        "+12.3",
        "+0.12",
        "−0.12",
        "0.00",
        "0.00",
    ]
    assert run("common/format", "[0.04, 9.94, 123.4].map(it.milliseconds)") == ["0.0", "9.9", "123"]
    assert run("common/format", "[it.count(1, 'class', 'classes'), it.count(1000, 'image')]") == [
        "1 class",
        "1,000 images",
    ]


@pytest.mark.parametrize("size", [0, 1, 55, 56, 64, 119, 120, 1000])
def test_a_digest_is_the_same_with_the_browser_and_without(run: Callable[[str, str], Any], size: int) -> None:
    data = bytes(7 * index % 256 for index in range(size))
    expected = hashlib.sha256(data).hexdigest()
    file = f"Uint8Array.from({list(data)})"
    assert run("common/sha256", f"await it.sha256(new Blob([{file}]))") == expected
    assert bytes(run("common/sha256", f"Array.from(it.digestOf({file}))")).hex() == expected


def test_colours_of_a_signed_map(run: Callable[[str, str], Any]) -> None:
    against, nothing, for_it = run("explanation/palette", "[-2, 0, 2].map(it.diverging(2))")
    assert nothing[3] == 0
    assert against[3] == for_it[3] > 0.8
    assert against[2] > against[0]
    assert for_it[0] > for_it[2]
    assert run("explanation/palette", "it.diverging(0)(0)[3]") == 0


def test_colours_of_energies_and_priors(run: Callable[[str, str], Any]) -> None:
    low, middle, high = run("explanation/palette", "[3, 4, 5].map(it.sequential(3, 5))")
    assert sum(low[:3]) < sum(middle[:3]) < sum(high[:3])
    assert run("explanation/palette", "it.sequential(3, 3)(3)") == low
    colours = run("explanation/palette", "Array.from({ length: 32 }, (_, prior) => it.categorical(prior).slice(0, 3))")
    assert all(0 <= channel <= 255 for colour in colours for channel in colour)
    differences = [
        sum(abs(a - b) for a, b in zip(one, other, strict=True))
        for index, one in enumerate(colours)
        for other in colours[:index]
    ]
    assert min(differences) > 10


def test_a_pool_runs_few_at_once_and_in_order(run: Callable[[str, str], Any]) -> None:
    order, most, refused = run(
        "common/pool",
        """await (async () => {
          const pool = new it.Pool(2), order = [];
          let running = 0, most = 0;
          const tasks = Array.from({ length: 6 }, (_, index) => pool.run(async () => {
            order.push(index);
            most = Math.max(most, ++running);
            await new Promise((resolve) => setTimeout(resolve, index % 2 ? 1 : 5));
            running--;
            if (index === 1) throw new Error("a task may fail");
          }));
          const gone = pool.run(async () => order.push("gone"), AbortSignal.abort());
          const all = await Promise.allSettled([...tasks, gone]);
          return [order, most, all.map(({ status }) => status === "rejected")];
        })()""",
    )
    assert order == [0, 1, 2, 3, 4, 5]
    assert most == 2
    assert refused == [False, True, False, False, False, False, True]


def test_images_are_kept_within_bounds(run: Callable[[str, str], Any]) -> None:
    assert run(
        "common/kept",
        """await (async () => {
          const [one, other] = [new it.Kept("one"), new it.Kept("other")];
          // As a page does that is opened then.
          const list = async (place) => (await new it.Kept(place).before()).map(({ file }) => file.name);
          const many = Array.from({ length: 499 }, (_, name) => ({ name, size: 1 }));
          const told = [];
          one.add([{ name: "old", size: 1 }]);
          other.add(many);
          told.push([await list("one"), (await list("other")).length]); // of all lists together, 500
          const keys = other.add([{ name: "new", size: 1 }]);
          told.push([await list("one"), (await list("other")).slice(0, 2)]);
          other.drop(keys);
          told.push((await list("other")).length);
          one.add([{ name: "large", size: 6e7 }, { name: "too much", size: 6e7 }]);
          told.push([await list("one"), (await list("other")).length]);
          one.add([{ name: "larger", size: 2e8 }]);
          told.push(await list("one"));
          const now = Date.now();
          Date.now = () => now + 25 * 3600e3;
          told.push([await list("one"), await list("other")]);
          return told;
        })()""",
    ) == [
        [["old"], 499],
        [[], ["new", 0]],
        499,
        [["large"], 499],
        ["large"],
        [[], []],
    ]


def test_a_browser_that_keeps_nothing_is_done_without(visit: Callable[..., Visit]) -> None:
    page = visit("/docs").page
    page.evaluate("() => { IDBFactory.prototype.open = () => { throw new DOMException('no', 'SecurityError'); }; }")
    found = page.evaluate(
        """async () => {
          const kept = new (await import("/ui/common/kept.js")).Kept("one");
          kept.drop(kept.add([new File(["x"], "x.png")]));
          return kept.before();
        }"""
    )
    assert found == []
