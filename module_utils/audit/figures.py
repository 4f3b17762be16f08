"""The figures of the audit's page: inline SVG, drawn by matplotlib, coloured by the page's style.

Text stays text, so it can be read out, searched and scaled. Colours are marks that become variables of the
style sheet, so a figure follows light and dark like everything else; none is told by colour alone.
"""

from __future__ import annotations

import io
import re
from collections.abc import Sequence
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import PathPatch
from matplotlib.path import Path
from matplotlib.ticker import FuncFormatter, MaxNLocator

# Variables of the style sheet, by the marks that stand for them in a figure.
_NAMES = (
    "ink", "muted", "line", "surface", "full", "full-ink", "little", "much", "gap-ink", "behind", "behind-ink",
    "holiday", "holiday-ink", "accent",
)  # fmt: skip
INK = {name: f"#fe01{number:02x}" for number, name in enumerate(_NAMES, 0x10)}
_MARK = re.compile("|".join(INK.values()))
_VARIABLES = {mark: f"var(--{name})" for name, mark in INK.items()}

ROW, LABEL, NOTE, HEAD = 20, 132, 180, 30  # CSS pixels
MUCH = 0.2  # from this share of its sessions on, a month lacks much

Cells = dict[str, list[tuple[float, float]]]


def months_map(coverage: dict[str, Any], number: int) -> str:
    """Return the map symbols by months, with the markets' sessions and holidays above it.

    Args:
        coverage: as ``audit.json`` has it.
        number: of the figure on the page, for ids that are no other's.
    """
    cells: Cells = {}
    texts: list[tuple[float, float, str, str]] = []
    labels: list[str] = []
    notes: list[str] = []

    def put(column: int, style: str, text: str = "") -> None:
        row = len(labels) - 1
        cells.setdefault(style, []).append((column, row))
        if text:
            texts.append((column + 0.5, row + 0.5, text, _ON[style]))

    for market in coverage["markets"]:
        labels.append(f"{market['name']} sessions")
        notes.append("h: holidays" if any(month["holidays"] for month in market["months"]) else "")
        for column, month in enumerate(market["months"]):
            if month["sessions"]:
                off = f" h{month['holidays']}" if month["holidays"] else ""
                put(column, "holiday" if off else "surface", f"{month['sessions']}{off}")
    labels.append("all symbols")
    notes.append("bars of those expected")
    for column, month in enumerate(coverage["all"]):
        if month["expected"]:
            share = month["held"] / month["expected"]
            put(column, _gap(1 - share), "" if share >= 1 else f"{int(share * 1000) / 10:g}%")
    for line in coverage["worst"]:
        labels.append(line["symbol"])
        notes.append(freshness(line))
        for column, month in enumerate(line["months"]):
            lacking = month["missing"] / max(1, month["bars"] + month["missing"])
            if month["missing"]:
                put(column, _gap(lacking), f"−{month['missing']}")
            elif month["behind"]:
                put(column, "behind", f"▸{month['behind']}")
            elif month["bars"]:
                put(column, "full")
    heads = [f"{month[5:]}\n{month[:4]}" if month[5:] == "01" or not n else month[5:]
             for n, month in enumerate(coverage["months"])]  # fmt: skip
    return _grid("Bars by symbol and month", cells, texts, labels, notes, heads, 34, number)


def recent_map(coverage: dict[str, Any], number: int) -> str:
    """Return the map symbols by days, of the last weeks; see ``months_map``."""
    cells: Cells = {}
    texts: list[tuple[float, float, str, str]] = []
    labels: list[str] = []
    rows = [(f"{market['name']} sessions", market["recent"]) for market in coverage["markets"]]
    rows += [(line["symbol"], line["recent"]) for line in coverage["worst"]]
    for row, (label, letters) in enumerate(rows):
        labels.append(label)
        for column, letter in enumerate(letters):
            style, text = _DAYS[letter]
            if style:
                cells.setdefault(style, []).append((column, row))
            if text:
                texts.append((column + 0.5, row + 0.5, text, _ON[style]))
    heads = [
        f"{day[8:]}\n{day[5:7]}" if day[8:] == "01" or not n else day[8:]
        for n, day in enumerate(coverage["recent"])
    ]
    notes = ["h: holiday" if "h" in letters else "" for _, letters in rows[: len(coverage["markets"])]]
    notes += [freshness(line) for line in coverage["worst"]]
    return _grid("Bars by symbol and day", cells, texts, labels, notes, heads, 18, number)


_DAYS = {
    "b": ("full", ""), "s": ("surface", "s"), "h": ("holiday", "h"), "m": ("much", "×"), "l": ("behind", "▸"),
    ".": ("", ""),
}  # fmt: skip
# What is written on each colour.
_ON = {
    "full": "full-ink", "little": "gap-ink", "much": "gap-ink", "behind": "behind-ink", "holiday": "holiday-ink",
    "surface": "muted",
}  # fmt: skip


def _gap(share: float) -> str:
    return "full" if share <= 0 else "little" if share < MUCH else "much"


def freshness(line: dict[str, Any]) -> str:
    """How fresh a symbol is, for people."""
    if line["last"] is None:
        return "no bar in the window"
    if not line["active"]:
        return f"{line['last']} (not active)"
    if line["market"] == "no calendar":
        return f"{line['last']} (no calendar)"
    return f"{line['last']} " + (f"▸{line['behind']} behind" if line["behind"] else "✓ fresh")


def rows_chart(coverage: dict[str, Any], number: int) -> str:
    """Return the chart of rows by month; see ``months_map``."""
    values = [month["rows"] for month in coverage["all"]]
    width, height = 900, 220
    figure, axes = _canvas(width, height, (0.085, 0.17, 0.905, 0.75))
    axes.bar(range(len(values)), values, color=INK["accent"], width=0.8)
    step = max(1, len(values) // 12)
    axes.set_xticks(range(0, len(values), step), coverage["months"][::step], size=11, color=INK["muted"])
    axes.yaxis.set_major_locator(MaxNLocator(4, integer=True))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:,.0f}"))
    axes.tick_params(colors=INK["muted"], length=0, labelsize=11)
    axes.grid(axis="y", color=INK["line"], linewidth=1)
    axes.set_axisbelow(True)
    axes.set_xlim(-0.6, len(values) - 0.4)
    axes.set_ylim(0, max([*values, 1]) * 1.1)
    return _svg(figure, "Rows by month", number)


def _grid(
    title: str,
    cells: Cells,
    texts: Sequence[tuple[float, float, str, str]],
    labels: Sequence[str],
    notes: Sequence[str],
    heads: Sequence[str],
    cell: int,
    number: int,
) -> str:
    columns, rows = len(heads), len(labels)
    width, height = LABEL + columns * cell + NOTE, HEAD + rows * ROW + 4
    figure, axes = _canvas(
        width, height, (LABEL / width, 4 / height, columns * cell / width, rows * ROW / height)
    )
    axes.set_xlim(0, columns)
    axes.set_ylim(rows, 0)
    axes.axis("off")
    for style, places in sorted(cells.items()):
        # One path for all cells of a colour keeps the page small.
        boxes = [Path([(x + 0.04, y + 0.06), (x + 0.96, y + 0.06), (x + 0.96, y + 0.94), (x + 0.04, y + 0.94),
                       (x + 0.04, y + 0.06)], closed=True) for x, y in places]  # fmt: skip
        axes.add_patch(
            PathPatch(
                Path.make_compound_path(*boxes), facecolor=INK[style], edgecolor=INK["line"], linewidth=0.5
            )
        )
    for x, y, text, style in texts:
        axes.text(x, y, text, ha="center", va="center_baseline", size=9.5, color=INK[style])
    for row, (label, note) in enumerate(zip(labels, notes)):
        shown = label if len(label) <= 18 else f"{label[:17]}…"
        axes.text(-8 / cell, row + 0.5, shown, ha="right", va="center_baseline", size=11.5, color=INK["ink"])
        axes.text(
            columns + 8 / cell,
            row + 0.5,
            note,
            ha="left",
            va="center_baseline",
            size=10.5,
            color=INK["muted"],
        )
    for column, head in enumerate(heads):
        lines = head.split("\n")
        axes.text(column + 0.5, -0.22, lines[0], ha="center", va="baseline", size=10, color=INK["muted"])
        if lines[1:]:
            axes.text(column + 0.5, -0.88, lines[1], ha="center", va="baseline", size=10, color=INK["ink"])
    return _svg(figure, title, number)


def _canvas(width: float, height: float, place: tuple[float, float, float, float]) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width / 72, height / 72), dpi=72)
    FigureCanvasSVG(figure)
    figure.patch.set_alpha(0)
    axes = figure.add_axes(place)
    axes.patch.set_alpha(0)
    for spine in axes.spines.values():
        spine.set_visible(False)
    return figure, axes


# What an SVG file needs and an element of the page does not; the page gives the font, a size in pixels stays.
_SHORTER = (
    (r"<metadata>.*?</metadata>\s*|<!--.*?-->\s*|<style[^>]*>.*?</style>\s*", ""),
    (r"font: ([0-9.]+px)[^;\"]*|font-family: [^;\"]*; ?", r"\1"),
    (r'style="([0-9.]+px)', r'style="font-size: \1'),
    (r' transform="rotate\(-0 [^)]*\)"', ""),
    (r'<g id="[^"]*text_\d+">\s*(<text[^>]*>[^<]*</text>)\s*</g>', r"\1"),
    (r"\s*\n\s*", "\n"),
)


def _svg(figure: Figure, title: str, number: int) -> str:
    """Return the figure as an element of an HTML page."""
    out = io.StringIO()
    with mpl.rc_context(
        {"svg.fonttype": "none", "svg.hashsalt": f"figure {number}", "font.family": "sans-serif"}
    ):
        figure.savefig(
            out, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None}
        )
    text = out.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r'\b(id="|href="#|url\(#)', rf"\g<1>f{number}-", text)
    for pattern, instead in _SHORTER:
        text = re.sub(pattern, instead, text, flags=re.S)
    width, height = figure.get_size_inches() * 72
    box = f'width="{width:.0f}" height="{height:.0f}" viewBox="0 0 {width:.0f} {height:.0f}"'
    head = f'<svg role="img" aria-label="{title}. The same is in the table below." {box}>'
    text = re.sub(r"<svg[^>]*>", head, text, count=1)
    return _MARK.sub(lambda found: _VARIABLES[found[0]], text)
