"""The page in a browser: no console output, no network requests, and it fits a phone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from tests.integration.audit.conftest import BROWSER, NO_BROWSER, Audited

if TYPE_CHECKING:
    from playwright.sync_api import Browser, Page

pytestmark = pytest.mark.skipif(BROWSER is None, reason=NO_BROWSER)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    from playwright.sync_api import sync_playwright

    with sync_playwright() as driver:
        # A browser's own sandbox does not start under root.
        alone = ["--no-sandbox"] if os.geteuid() == 0 else []
        found = driver.chromium.launch(executable_path=BROWSER, args=alone)
        yield found
        found.close()


@dataclass
class Seen:
    """A page as a user sees it, with its console messages and requests."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


def see(browser: Browser, audited: Audited, width: int = 1200, scheme: Any = "light") -> Seen:
    """Open the page."""
    page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
    seen = Seen(page)
    page.on("console", lambda message: seen.said.append(message.text))
    page.on("pageerror", lambda error: seen.said.append(str(error)))
    page.on("request", lambda request: seen.asked.append(request.url))
    page.goto((audited.folder / "index.html").as_uri())
    return seen


@pytest.fixture(scope="module")
def seen(browser: Browser, audited: Audited) -> Iterator[Seen]:
    """One page for all tests that only read it, with every summary opened."""
    found = see(browser, audited)
    for summary in found.page.locator("summary").all():
        summary.click()
    yield found
    found.page.close()


@pytest.fixture
def load(browser: Browser, audited: Audited) -> Iterator[Any]:
    opened: list[Page] = []

    def call(width: int = 1200, scheme: Any = "light") -> Page:
        page = see(browser, audited, width, scheme).page
        page.eval_on_selector_all("details", "all => all.forEach(one => { one.open = true })")
        opened.append(page)
        return page

    yield call
    for page in opened:
        page.close()


def test_it_loads_in_silence_and_asks_for_nothing_else(seen: Seen, audited: Audited) -> None:
    assert seen.page.title().startswith("Audit")
    assert seen.said == []
    assert seen.asked == [(audited.folder / "index.html").as_uri()]


def cells(page: Page, selector: str) -> list[list[str]]:
    rows: list[list[str]] = page.eval_on_selector_all(
        f"{selector} tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return rows


def test_verdicts_are_those_of_the_document(seen: Seen, audited: Audited) -> None:
    words = {"pass": "✓ pass", "warn": "! warning", "fail": "✕ fail"}
    words |= {"failed": "✕ no result", "unreachable": "? unreachable"}
    expected = {
        host["name"]: [
            words[host["verdict"]],
            *(str(host["counts"][n]) for n in ("pass", "warn", "fail", "waived")),
        ]
        for host in audited.document["hosts"]
    }
    shown = {row[0]: row[1:] for row in cells(seen.page, "#verdicts")}
    assert shown == expected
    assert list(shown)[0] == "away"  # the worst come first


def test_checks_are_those_of_the_document(seen: Seen, audited: Audited) -> None:
    checks = [check for host in audited.document["hosts"] for check in host["checks"]]
    shown = seen.page.eval_on_selector_all(
        "table.checks tbody tr",
        "rows => rows.map(row => [row.cells[0], row.cells[2], row.querySelector('.found')].map(e => e.innerText))",
    )
    plain = [[check["name"], check["expected"], check["found"].replace("`", "")] for check in checks]
    assert sorted([*row] for row in shown) == sorted(plain)


def test_numbers_of_the_coverage_are_those_of_the_document(seen: Seen, audited: Audited) -> None:
    coverage = audited.document["databases"][0]["coverage"]
    page = seen.page
    lines = {row[0]: row for row in cells(page, "table.months")}
    for line in coverage["worst"]:
        shown = lines[line["symbol"]]
        assert [int(shown[2]), int(shown[3])] == [line["missing"], line["behind"]]
        assert len(shown) == 4 + len(coverage["months"])
    labels = page.eval_on_selector_all("table.months td", "all => all.map(e => e.ariaLabel || '')")
    for line in coverage["worst"]:
        own = [label for label in labels if label.startswith(f"{line['symbol']}, ")]
        bars = [int(re.sub(r".*: (\d+) bars?.*", r"\1", label)) for label in own]
        assert sum(bars) == line["bars"]
    rows = [[row[0], *(int(text.replace(",", "")) for text in row[1:])] for row in cells(page, "table.rows")]
    assert rows == [
        [month, *(entry[name] for name in ("rows", "symbols", "expected", "held"))]
        for month, entry in zip(coverage["months"], coverage["all"], strict=True)
    ]


def test_maps_show_the_gap_of_the_document(seen: Seen, audited: Audited) -> None:
    coverage = audited.document["databases"][0]["coverage"]
    page = seen.page
    gaps = [text for row in cells(page, "table.months") for text in row if text.startswith("−")]
    missing = [
        f"−{month['missing']}" for line in coverage["worst"] for month in line["months"] if month["missing"]
    ]
    assert gaps == missing == ["−1"]
    names = [row[0] for row in cells(page, "table.days")]
    assert names[-len(coverage["worst"]) :] == [line["symbol"] for line in coverage["worst"]]


def test_ledger_and_undo_are_shown(seen: Seen, audited: Audited) -> None:
    page = seen.page
    (run,) = audited.document["databases"][0]["ledger"]
    (row,) = cells(page, "table.ledger")
    assert [row[0], row[3], row[8]] == [str(run["run"]), run["state"], f"{run['totals']['inserted']:,}"]
    assert audited.host("hub")["last_reset"]["undo"] in page.locator("main").inner_text()


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_no_page_scrolls_sideways(load: Any, width: int) -> None:
    page = load(width)
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_light_and_dark_follow_the_system(load: Any, tmp_path: Path) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        page = load(1200, scheme)
        grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.screenshot(path=tmp_path / f"{scheme}.png")
    assert grounds["light"] != grounds["dark"]
    assert (tmp_path / "light.png").read_bytes() != (tmp_path / "dark.png").read_bytes()


def tip(page: Page) -> Any:
    """Return the focused element's tooltip, and whether it is fully inside the window."""
    return page.evaluate(
        "(() => { const e = document.activeElement; return [e.ariaLabel, getComputedStyle(e, '::after').content]; })()"
    )


@pytest.mark.parametrize("width", [360, 1200])
def test_a_cell_is_reached_by_keyboard_and_shows_its_tooltip(load: Any, width: int) -> None:
    page = load(width)
    page.locator("table.months").evaluate("e => e.closest('.scroll').focus()")
    page.keyboard.press("Tab")
    label, shown = tip(page)
    assert label
    assert shown == f'"{label}"'
    page.keyboard.press("Tab")
    assert tip(page)[0] not in ("", label)


def test_a_keyboard_need_not_pass_every_cell(load: Any) -> None:
    page = load()
    skip = page.locator("a.skip").first
    skip.focus()
    assert skip.bounding_box()["height"] > 10  # seen while it has the focus
    page.keyboard.press("Enter")
    page.keyboard.press("Tab")
    assert page.evaluate("document.activeElement.closest('table.months')") is None
    assert page.evaluate("document.activeElement.className") == "skip"  # that of the next map


def test_maps_open_at_their_newest_column_with_the_names_in_sight(load: Any) -> None:
    page = load(360)
    frame = page.locator("table.days").evaluate("e => e.closest('.scroll').getBoundingClientRect().toJSON()")
    newest = page.locator("table.days thead tr:last-child th:last-child").bounding_box()
    name = page.locator("table.days tbody th").first.bounding_box()
    assert frame["x"] <= name["x"] < newest["x"] + newest["width"] <= frame["right"] + 1


def test_print_shows_all_columns_and_what_is_folded(load: Any, audited: Audited) -> None:
    page = load(360)
    page.emulate_media(media="print", color_scheme="dark")
    assert page.evaluate("getComputedStyle(document.documentElement).colorScheme") == "light"
    assert (
        page.locator("table.months").evaluate("e => getComputedStyle(e.closest('.scroll')).overflowX")
        == "visible"
    )
