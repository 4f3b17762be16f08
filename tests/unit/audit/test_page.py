"""The page: self-contained, readable in both schemes, bounded; what needs a browser is in tests/integration."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.audit import evidence, page

from tests.unit.audit.answers import TEMPLATES, answers, bars, check, data

TEMPLATE = Path(__file__).parents[3] / TEMPLATES
WHEN = "2026-11-23T04:20:00Z"


class Reader(HTMLParser):
    """Collect elements with their attributes, and fail if one is not closed."""

    VOID = ("meta", "link", "br", "path", "use", "rect")

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        if tag not in self.VOID:
            assert self.open.pop() == tag

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.elements if name == tag]


def made(found: dict[str, dict[str, Any]]) -> str:
    return page.text(evidence.document(found, WHEN), TEMPLATE)


@pytest.fixture(scope="module")
def text() -> str:
    return made(answers())


@pytest.fixture(scope="module")
def read(text: str) -> Reader:
    return Reader(text)


def test_every_element_is_closed_and_every_id_is_its_own(read: Reader) -> None:
    assert read.open == []
    ids = [attributes["id"] for _, attributes in read.elements if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_every_reference_is_to_something_on_the_page(read: Reader) -> None:
    ids = {attributes.get("id") for _, attributes in read.elements}
    named = [
        attributes["href"] for tag, attributes in read.elements if tag != "link" and "href" in attributes
    ]
    named += [f"#{a['aria-labelledby']}" for _, a in read.elements if "aria-labelledby" in a]
    assert named
    assert [target for target in named if target and target[1:] not in ids] == []


def test_data_of_databases_ends_without_a_line_of_its_own(text: str) -> None:
    assert "</section></main>" in text


def test_nothing_is_loaded_and_nothing_is_run(text: str, read: Reader) -> None:
    assert not {"script", "img", "iframe", "object", "embed"} & {tag for tag, _ in read.elements}
    assert [a["href"] for a in read.all("link")] == ["data:,"]
    assert not re.search(r"@import|url\((?!#)|https?://(?!www\.w3\.org/)", text)


def test_what_hosts_say_is_text_and_no_markup(text: str) -> None:
    assert "is &lt;not&gt; installed &amp; gone" in text
    hostile = {"<b>x": {"verdict": "fail", "checks": [check("<img src=x>", "fail")], "data": None}}
    assert not Reader(made(hostile)).all("img")


def test_language_title_headings_and_tables_for_readers(read: Reader) -> None:
    assert read.all("html")[0]["lang"] == "en"
    assert len(read.all("h1")) == 1
    levels = [int(tag[1]) for tag, _ in read.elements if re.fullmatch("h[1-6]", tag)]
    assert max(b - a for a, b in zip(levels, levels[1:], strict=False)) <= 1
    assert all(attributes.get("scope") in ("col", "row", "colgroup") for attributes in read.all("th"))


def test_cells_are_reached_by_keyboard_and_say_in_words_where_they_are(read: Reader) -> None:
    marked = [attributes for attributes in read.all("td") if attributes.get("class") in KINDS]
    assert len(marked) > 100
    assert all(attributes.get("tabindex") == "0" for attributes in marked)
    assert "S0.US, Nov 2026: 15 bars" in [attributes["aria-label"] for attributes in marked]
    labels = [attributes["aria-label"] for attributes in marked]
    assert len(labels) == len(set(labels))


def test_a_map_can_be_skipped(read: Reader) -> None:
    targets = [a["href"] for a in read.all("a") if a.get("class") == "skip"]
    assert len(targets) == 2


KINDS = {"full", "few", "many", "late", "open", "off"}


@pytest.mark.parametrize("make", [page.by_month, page.by_day])
def test_no_cell_is_told_by_colour_alone(make: Any) -> None:
    found = [cell for row in make(bars(8)).rows for cell in row.cells if cell.kind]
    assert {cell.kind for cell in found} <= KINDS
    assert all(cell.text and cell.label for cell in found)
    marks = {
        kind: {cell.text.lstrip("0123456789")[:1] for cell in found if cell.kind == kind} for kind in KINDS
    }
    assert not marks["late"] & marks["full"]
    assert not (marks["few"] | marks["many"]) & marks["late"]


def month(bars: int, missing: int = 0, behind: int = 0) -> dict[str, Any]:
    return {"bars": bars, "missing": missing, "behind": behind}


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        (month(21), ("full", "21", "A.US, Jan 2026: 21 bars")),
        (month(20, missing=1), ("few", "−1", "A.US, Jan 2026: 20 bars, 1 session missing")),
        (month(16, missing=4), ("many", "−4", "A.US, Jan 2026: 16 bars, 4 sessions missing")),
        (month(1, behind=20), ("late", "▸20", "A.US, Jan 2026: 1 bar, 20 sessions after the last bar")),
        (month(9, 1, 11), ("few", "−1", "A.US, Jan 2026: 9 bars, 1 session missing, 11 sessions after the last bar")),
        (month(0), ("", "", "")),
    ],
)  # fmt: skip
def test_month_of_a_symbol(counts: dict[str, Any], expected: tuple[str, str, str]) -> None:
    line = {"symbol": "A.US", "market": "US", "active": True, "last": "2026-01-30", "missing": 0, "behind": 0}
    coverage = {"months": ["2026-01"], "markets": [], "missing": 0, "behind": 0,
                "all": [{"held": 0, "expected": 0}], "worst": [{**line, "months": [counts]}]}  # fmt: skip
    (cell,) = page.by_month(coverage).rows[-1].cells
    assert (cell.kind, cell.text, cell.label) == expected


@pytest.mark.parametrize(("held", "text"), [(1000, "100"), (999, "99.9"), (9999, "99.9"), (0, "0")])
def test_what_is_not_complete_never_says_100(held: int, text: str) -> None:
    expected = 10000 if held == 9999 else 1000
    coverage = {"months": ["2026-01"], "markets": [], "missing": 0, "behind": 0, "worst": [],
                "all": [{"held": held, "expected": expected}]}  # fmt: skip
    assert page.by_month(coverage).rows[0].cells[0].text == text


def test_headings_span_their_years_and_months() -> None:
    months = page.by_month(bars(2))
    assert months.groups == [("2024", 1), ("2025", 12), ("2026", 11)]
    days = page.by_day(bars(2))
    assert [sum(span for _, span in found.groups) for found in (months, days)] == [24, 42]
    assert (days.groups[-1], days.columns[-1]) == (("Nov 2026", 23), "23")


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


PAIRS = [
    ("ink", "page"), ("ink", "surface"), ("muted", "page"), ("muted", "surface"), ("accent", "surface"),
    ("full-ink", "full"), ("ink", "full"), ("gap-ink", "few"), ("gap-ink", "many"), ("late-ink", "late"),
    ("open-ink", "open"), ("off-ink", "off"), ("pass-ink", "pass"), ("warn-ink", "warn"), ("fail-ink", "fail"),
    ("waived-ink", "waived"),
]  # fmt: skip


@pytest.mark.parametrize("scheme", [0, 1])
@pytest.mark.parametrize("pair", PAIRS)
def test_contrast_is_that_of_wcag_aa(scheme: int, pair: tuple[str, str]) -> None:
    block = (TEMPLATE / "page.css").read_text().split(":root {")[1 + scheme]
    colours = dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
    light, dark = sorted((luminance(colours[name]) for name in pair), reverse=True)
    assert (light + 0.05) / (dark + 0.05) >= 4.5


def test_every_verdict_has_a_word_and_a_mark() -> None:
    assert len({mark for mark, _ in page.WORDS.values()} | {word for _, word in page.WORDS.values()}) >= 10


def test_page_of_40_symbols_and_24_months_is_at_most_300_kb() -> None:
    coverage = bars(40)
    assert (len(coverage["worst"]), len(coverage["months"])) == (40, 24)
    hosts = {"h": {**answers()["hub"], "data": {**data(), "coverage": coverage}}}
    assert len(made(hosts).encode()) <= 300_000


HOSTILE = """<script>alert(1)</script>"' onfocus='alert(2)' &amp; {{ 7 * 7 }}"""


def test_hostile_names_of_symbols_hosts_and_databases_stay_text() -> None:
    shared = data()
    coverage = shared["coverage"]
    line = {**coverage["worst"][0], "symbol": HOSTILE, "market": HOSTILE}
    market = {**coverage["markets"][0], "name": HOSTILE, "holidays": [HOSTILE]}
    shared = {
        **shared, "database": HOSTILE, "notes": [HOSTILE],
        "coverage": {**coverage, "worst": [line], "markets": [market]},
        "ledger": [{**shared["ledger"][0], "message": HOSTILE, "mode": HOSTILE}],
    }  # fmt: skip
    read = Reader(made({HOSTILE: {**answers()["hub"], "data": shared}}))
    assert read.open == []
    assert not read.all("script")
    assert [name for _, attributes in read.elements for name in attributes if name.startswith("on")] == []
    labels = [attributes["aria-label"] or "" for attributes in read.all("td") if "aria-label" in attributes]
    assert any(label.startswith(HOSTILE) for label in labels)


def test_page_of_three_hundred_hosts_stays_small() -> None:
    checks = [check(f"artifact {number}", "pass") for number in range(40)]
    shared = data()
    hosts = {
        f"h{n}": {"verdict": "pass", "checks": checks, "last_reset": None, "data": shared} for n in range(300)
    }
    assert len(made(hosts)) < 600_000


def test_database_without_bars_says_what_to_do() -> None:
    empty = {**data(), "coverage": {**bars(0), "symbols": 0, "worst": []}}
    assert "playbooks/backfill.yml" in made({"h": {**answers()["inference"], "data": empty}})


def test_what_could_not_be_read_is_noted() -> None:
    none = {**data(), "coverage": None, "ledger": None, "notes": ["The map could not be read."]}
    text = made({"h": {**answers()["inference"], "data": none}})
    assert "The map could not be read." in text
    assert "No bars could be read." in text
