"""The page in a browser: it loads without a word on the console, asks the network for nothing, and fits a phone."""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright

from tests.integration.audit.conftest import BROWSER, NO_BROWSER, Audited

pytestmark = pytest.mark.skipif(BROWSER is None, reason=NO_BROWSER)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as driver:
        # A browser's own sandbox does not start under root.
        alone = ["--no-sandbox"] if os.geteuid() == 0 else []
        found = driver.chromium.launch(executable_path=BROWSER, args=alone)
        yield found
        found.close()


@dataclass
class Seen:
    """A page as a user has it before him, and all that it said and asked for meanwhile."""

    page: Page
    said: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)


@pytest.fixture
def load(browser: Browser, audited: Audited) -> Iterator[Any]:
    opened: list[Page] = []

    def call(width: int = 1200, scheme: Any = "light") -> Seen:
        page = browser.new_page(viewport={"width": width, "height": 900}, color_scheme=scheme)
        opened.append(page)
        seen = Seen(page)
        page.on("console", lambda message: seen.said.append(message.text))
        page.on("pageerror", lambda error: seen.said.append(str(error)))
        page.on("request", lambda request: seen.asked.append(request.url))
        page.goto((audited.folder / "index.html").as_uri())
        for summary in page.locator("summary").all():
            summary.click()
        return seen

    yield call
    for page in opened:
        page.close()


def test_it_loads_in_silence_and_asks_for_nothing_else(load: Any, audited: Audited) -> None:
    seen = load()
    assert seen.page.title().startswith("Audit")
    assert seen.said == []
    assert seen.asked == [(audited.folder / "index.html").as_uri()]


def cells(page: Page, selector: str) -> list[list[str]]:
    rows: list[list[str]] = page.eval_on_selector_all(
        f"{selector} tbody tr", "rows => rows.map(row => [...row.cells].map(cell => cell.innerText.trim()))"
    )
    return rows


def test_verdicts_are_those_of_the_document(load: Any, audited: Audited) -> None:
    words = {"pass": "✓ pass", "warn": "! warning", "fail": "✕ fail", "unreachable": "? unreachable"}
    expected = {
        host["name"]: [
            words[host["verdict"]],
            *(str(host["counts"][n]) for n in ("pass", "warn", "fail", "waived")),
        ]
        for host in audited.document["hosts"]
    }
    shown = {row[0]: row[1:] for row in cells(load().page, "#verdicts")}
    assert shown == expected
    assert list(shown)[0] == "away"  # the worst come first


def test_checks_are_those_of_the_document(load: Any, audited: Audited) -> None:
    checks = [check for host in audited.document["hosts"] for check in host["checks"]]
    shown = load().page.eval_on_selector_all(
        "table.checks tbody tr",
        "rows => rows.map(row => [row.cells[0], row.cells[2], row.querySelector('.found')].map(e => e.innerText))",
    )
    plain = [[check["name"], check["expected"], check["found"].replace("`", "")] for check in checks]
    assert sorted([*row] for row in shown) == sorted(plain)


def test_numbers_of_the_coverage_are_those_of_the_document(load: Any, audited: Audited) -> None:
    coverage = audited.document["databases"][0]["coverage"]
    page = load().page
    lines = {row[0]: row for row in cells(page, "table.coverage")}
    for line in coverage["worst"]:
        shown = lines[line["symbol"]]
        assert [int(shown[3]), int(shown[4])] == [line["missing"], line["behind"]]
        bars = [int(re.split("[ −▸]", text)[0]) for text in shown[5:] if text]
        assert sum(bars) == line["bars"]
    rows = [[row[0], *(int(text.replace(",", "")) for text in row[1:])] for row in cells(page, "table.rows")]
    assert rows == [
        [month, *(entry[name] for name in ("rows", "symbols", "expected", "held"))]
        for month, entry in zip(coverage["months"], coverage["all"], strict=True)
    ]


def test_figure_shows_the_numbers_of_the_document(load: Any, audited: Audited) -> None:
    coverage = audited.document["databases"][0]["coverage"]
    texts = load().page.eval_on_selector_all("figure svg text", "all => all.map(text => text.textContent)")
    missing = [
        f"−{month['missing']}" for line in coverage["worst"] for month in line["months"] if month["missing"]
    ]
    assert missing == ["−1"]
    assert [text for text in texts if text.startswith("−")] == missing
    assert {line["symbol"] for line in coverage["worst"]} <= set(texts)


def test_ledger_and_undo_are_shown(load: Any, audited: Audited) -> None:
    page = load().page
    (run,) = audited.document["databases"][0]["ledger"]
    (row,) = cells(page, "table.ledger")
    assert [row[0], row[3], row[8]] == [str(run["run"]), run["state"], f"{run['totals']['inserted']:,}"]
    assert audited.host("hub")["last_reset"]["undo"] in page.locator("main").inner_text()


@pytest.mark.parametrize("width", [360, 768, 1200])
def test_no_page_scrolls_sideways(load: Any, width: int) -> None:
    page = load(width).page
    assert page.evaluate("document.documentElement.scrollWidth") == width


def test_light_and_dark_follow_the_system(load: Any, tmp_path: Path) -> None:
    grounds = {}
    for scheme in ("light", "dark"):
        page = load(1200, scheme).page
        grounds[scheme] = page.evaluate("getComputedStyle(document.body).backgroundColor")
        page.screenshot(path=tmp_path / f"{scheme}.png", full_page=True)
        # What the style sheet does not know would be drawn black.
        colours = page.eval_on_selector_all(
            "figure svg path, figure svg text", "all => [...new Set(all.map(e => getComputedStyle(e).fill))]"
        )
        assert "rgb(0, 0, 0)" not in colours
    assert grounds["light"] != grounds["dark"]
    assert (tmp_path / "light.png").read_bytes() != (tmp_path / "dark.png").read_bytes()


def test_figures_that_are_wider_than_the_page_can_be_reached_by_keyboard(load: Any) -> None:
    page = load(360).page
    regions = page.locator("figure .scroll")
    assert regions.count() == 3
    assert [regions.nth(at).get_attribute("tabindex") for at in range(3)] == ["0"] * 3
    assert all(regions.nth(at).get_attribute("aria-label") for at in range(3))
