"""The page: whole in itself, readable in both schemes, bounded; what needs a browser is in tests/integration."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from ansible.module_utils.audit import evidence, figures, page

from tests.unit.audit.answers import TEMPLATES, answers, bars, check, data

TEMPLATE = Path(__file__).parents[3] / TEMPLATES
WHEN = "2026-11-23T04:20:00Z"


class Reader(HTMLParser):
    """Gathers elements with their attributes, and complains about what is not closed."""

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
    assert all(attributes.get("scope") in ("col", "row") for attributes in read.all("th"))
    assert all(attributes.get("role") == "img" and attributes["aria-label"] for attributes in read.all("svg"))
    assert len(read.all("svg")) == 3


@pytest.mark.parametrize("make", [figures.months_map, figures.recent_map, figures.rows_chart])
def test_figures_are_coloured_by_the_style_sheet_alone(make: Any) -> None:
    svg = make(bars(8), 1)
    assert "var(--" in svg
    assert set(re.findall("#[0-9a-f]{6}", svg)) <= {"#ffffff", "#000000"}
    assert re.findall(r"(?:fill|stroke): (?!none|var)", svg) == []


def test_months_map_writes_the_numbers_of_what_is_missing_into_its_cells() -> None:
    coverage = bars(8)
    texts = re.findall(r"<text[^>]*>([^<]*)</text>", figures.months_map(coverage, 1))
    missing = [
        f"−{month['missing']}" for line in coverage["worst"] for month in line["months"] if month["missing"]
    ]
    assert missing
    assert sorted(text for text in texts if text.startswith("−")) == sorted(missing)
    assert [text for text in texts if re.fullmatch(r"\d+ h1", text)]


def luminance(colour: str) -> float:
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    red, green, blue = (p / 12.92 if p <= 0.04045 else ((p + 0.055) / 1.055) ** 2.4 for p in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


PAIRS = [
    ("ink", "page"), ("ink", "surface"), ("muted", "page"), ("muted", "surface"), ("accent", "surface"),
    ("full-ink", "full"), ("gap-ink", "little"), ("gap-ink", "much"), ("behind-ink", "behind"),
    ("holiday-ink", "holiday"), ("pass-ink", "pass"), ("warn-ink", "warn"), ("fail-ink", "fail"),
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
