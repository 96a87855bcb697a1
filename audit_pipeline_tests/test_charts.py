"""Pictures for the UI: Markdown that shows what it was given and does nothing it was told."""

import base64
import re
from xml.etree import ElementTree as ET

import pytest

from audit_pipeline import charts

SVG = "{http://www.w3.org/2000/svg}"
EVIL = '"><script>alert(1)</script>&[x](javascript:0)'


def _svg(markdown: str) -> ET.Element:
    found = re.fullmatch(
        r"!\[([^\[\]]*)\]\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)", markdown
    )
    assert found, markdown
    return ET.fromstring(base64.b64decode(found[2]))  # noqa: S314 — our own text


def _texts(svg: ET.Element) -> list[str]:
    return [text.text or "" for text in svg.iter(f"{SVG}text")]


def _bars(svg: ET.Element) -> list[ET.Element]:
    return list(svg.iter(f"{SVG}rect"))[1:]  # the first is the background


def test_bars_name_and_count_each():
    svg = _svg(charts.bars("Flags", {"CRITICAL": 2, "WARNING": 1_000}))
    assert _texts(svg) == ["Flags", "CRITICAL", "2", "WARNING", "1,000"]
    short, long = _bars(svg)
    assert int(short.attrib["width"]) < int(long.attrib["width"])
    assert short.attrib["fill"] == charts.COLORS["CRITICAL"]


def test_a_bar_of_nothing_is_still_seen():
    (bar,) = _bars(_svg(charts.bars("Flags", {"INFO": 0})))
    assert int(bar.attrib["width"]) == 1


def test_nothing_to_show():
    assert _texts(_svg(charts.bars("Flags", {}))) == ["Flags"]
    assert _texts(_svg(charts.columns("Days", []))) == ["Days"]


def test_columns_name_the_first_and_the_last():
    svg = _svg(charts.columns("Days", [("2025-01-01", 3), ("2025-01-02", 0), ("2025-01-03", 6)]))
    assert _texts(svg) == ["Days", "2025-01-01", "2025-01-03", "most: 6"]
    heights = [float(column.attrib["height"]) for column in _bars(svg)]
    assert heights == [45, 0, 90]
    assert [t.text for t in svg.iter(f"{SVG}title")] == [
        "2025-01-01: 3", "2025-01-02: 0", "2025-01-03: 6",
    ]  # fmt: skip


@pytest.mark.parametrize("days", [1, 30, 365, 5_000])
def test_any_number_of_columns_fits(days: int):
    svg = _svg(charts.columns("Days", [(f"day {n}", n) for n in range(days)]))
    last = _bars(svg)[-1].attrib
    assert float(last["width"]) > 0
    assert float(last["x"]) + float(last["width"]) <= charts.WIDTH


def test_pictures_do_not_obey_their_labels():
    for markdown in (charts.bars(EVIL, {EVIL: 1}), charts.columns(EVIL, [(EVIL, 1)])):
        svg = _svg(markdown)
        assert not list(svg.iter(f"{SVG}script"))
        assert EVIL in _texts(svg)


def test_a_long_label_is_cut():
    label = _texts(_svg(charts.bars("Flags", {"x" * 200: 1})))[1]
    assert label == "x" * charts.LABEL_CHARACTERS_MAX


def test_table():
    assert charts.table(("a", "b"), [("x", 1_234), ("y", 2.5)]) == (
        "| a | b |\n|---|---|\n| x | 1,234 |\n| y | 2.5 |"
    )


def test_a_cell_is_data():
    """No cell ends its row, its table, or begins a link, a tag or a heading."""
    cell = charts.table(("a",), [("one | two\n# three\r[four](http://x) `five` <b> \\",)])
    header, rule, row, *more = cell.split("\n")
    assert (header, rule, more) == ("| a |", "|---|", [])
    assert not re.search(r"(?<!\\)[\[\]<>`#]", row)
    assert len(re.findall(r"(?<!\\)\|", row)) == 2
