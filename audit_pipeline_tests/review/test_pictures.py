"""Charts: no text in one is markup, and none of them needs a colour to be read."""

import datetime as dt
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.model.flag import Severity
from audit_pipeline.review import pictures
from audit_pipeline_tests import corpora

DAY = dt.date(2025, 3, 1)


class Outline(HTMLParser):
    """The tags of a document with their attributes' names, and its texts."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, tuple[str, ...]]] = []
        self.texts: list[str] = []
        self.feed(markup)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, tuple(name for name, _ in attrs)))

    def handle_endtag(self, tag: str) -> None:
        self.tags.append((f"/{tag}", ()))

    def handle_data(self, data: str) -> None:
        self.texts.append(data)


def bars_of(*labels: str) -> Outline:
    return Outline(pictures.bars("vendors", "Money", [(label, 5, label) for label in labels]))


HOSTILE = (
    "</text><script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "</title></svg><h1>",
    "<!--",
    "<![CDATA[",
    "&lt;script&gt;",
    "'\" onload='x'",
)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_a_hostile_name_adds_no_element(hostile: str):
    found = bars_of(hostile, hostile)
    assert found.tags == bars_of("plain", "plain").tags
    assert hostile[: pictures.LABEL_CHARACTERS_MAX - 1] in "".join(found.texts)


def test_naughty_names_add_no_element():
    names = corpora.naughty_strings()
    assert bars_of(*names).tags == bars_of(*("plain" for _ in names)).tags


@given(st.lists(st.text(), min_size=1, max_size=5))
def test_no_name_adds_an_element(names: list[str]):
    assert bars_of(*names).tags == bars_of(*("plain" for _ in names)).tags


def test_what_the_content_security_policy_forbids_is_not_there():
    counts = {(DAY, level): 2 for level in Severity}
    for markup in (
        pictures.columns_by_day("days", "Flags", counts),
        pictures.bars("risk", "Risk", [("a", 1, "1")] * 3, list(Severity)),
    ):
        found = Outline(markup)
        names = {name for _, attributes in found.tags for name in attributes}
        assert not {name for name in names if name == "style" or name.startswith(("on", "xlink"))}
        assert not {tag for tag, _ in found.tags} & {"script", "style", "a", "image", "use"}


def test_each_severity_has_a_pattern_of_its_own():
    """Without its classes, which are the colours, no two look alike."""
    bare = {tuple(tag for tag, _ in Outline(shape).tags) for shape in pictures._PATTERNS.values()}
    assert len(bare) == len(Severity) == len(pictures._PATTERNS)


def heights(markup: str) -> dict[str, float]:
    """What a column's title says → its height."""
    return {
        part.split("<title>")[1].split("</title>")[0]: float(
            part.split('height="')[1].split('"')[0]
        )
        for part in markup.split("<rect ")[1:]
        if "<title>" in part
    }


def test_columns_stand_in_proportion_and_days_without_flags_have_none():
    counts = {(DAY, Severity.CRITICAL): 1, (DAY + dt.timedelta(days=3), Severity.CRITICAL): 4}
    found = heights(pictures.columns_by_day("days", "Flags", counts))
    one, four = found["2025-03-01: 1 CRITICAL"], found["2025-03-04: 4 CRITICAL"]
    assert len(found) == 2
    assert four == pictures.PLOT_HEIGHT
    assert one == pytest.approx(four / 4, abs=0.1)


def test_many_days_stand_together_and_none_is_lost():
    days = [DAY + dt.timedelta(days=n) for n in range(1_000)]
    found = heights(
        pictures.columns_by_day("days", "Flags", {(day, Severity.INFO): 1 for day in days})
    )
    assert len(found) <= pictures.COLUMNS_MAX
    assert sum(int(said.split(": ")[1].split(" ")[0]) for said in found) == 1_000


def test_nothing_to_show_is_a_picture_too():
    for markup in (pictures.columns_by_day("d", "t", {}), pictures.bars("b", "t", [])):
        assert Outline(markup).tags[0][0] == "svg"
