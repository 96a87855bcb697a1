"""Pictures of a flag: parts that add up, and text that stays text."""

import datetime as dt
from decimal import Decimal
from html.parser import HTMLParser

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.review.flag_pictures import Bar, Charge, history, waterfall

HOSTILE = [
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "' onload='alert(1)",
    "</text></svg><b>",
    "\u202eevil\x00\x1b[31m",
    "{0} {} {{7*7}} %s",
]


class Shape(HTMLParser):
    """The elements and attributes of markup, without their text."""

    def __init__(self, markup: str) -> None:
        super().__init__()
        self.seen: list[tuple[str, tuple[str, ...]]] = []
        self.feed(markup)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.seen.append((tag, tuple(name for name, _ in attrs)))


@pytest.mark.parametrize("text", HOSTILE)
def test_a_name_adds_no_element_and_no_attribute(text: str) -> None:
    bars = [Bar("harmless", Decimal(3)), Bar("together", Decimal(3), is_sum=True)]
    expected = Shape(waterfall("harmless", bars)).seen
    bars[0] = Bar(text, Decimal(3))
    assert Shape(waterfall(text, bars)).seen == expected
    charges = [Charge(dt.date(2026, 1, 1), 100, is_this=True)]
    assert Shape(history(text, charges)).seen == Shape(history("harmless", charges)).seen


def _rectangles(markup: str) -> list[tuple[float, float]]:
    found: list[tuple[float, float]] = []

    class Rectangles(HTMLParser):
        def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
            if tag == "rect":
                cells = dict(attrs)
                left = float(cells["x"] or 0)
                found.append((left, left + float(cells["width"] or 0)))

    Rectangles().feed(markup)
    return found


parts = st.lists(st.decimals(-500, 500, places=2), min_size=1, max_size=8)


@given(parts)
def test_each_part_begins_where_the_one_before_it_ended(values: list[Decimal]) -> None:
    """And the sum reaches from zero to where the last one ended."""
    bars = [Bar(f"part {n}", value) for n, value in enumerate(values)]
    total = sum(values, Decimal(0))
    drawn = _rectangles(waterfall("parts", [*bars, Bar("together", total, is_sum=True)]))
    zero = drawn[0][0] if values[0] >= 0 else drawn[0][1]
    at = zero
    for value, (left, right) in zip(values, drawn, strict=False):
        begin, end = (left, right) if value >= 0 else (right, left)
        if right - left > 2.2:  # a tiny part is drawn larger, so that it is seen
            assert abs(begin - at) < 2.4
        at = end
    assert min(abs(edge - zero) for edge in drawn[-1]) < 2.4


def test_numbers_are_written_beside_their_bars() -> None:
    markup = waterfall("x", [Bar("a", Decimal("1234.5")), Bar("b", Decimal(-3))])
    assert "+1,234.5" in markup
    assert "-3" in markup


def test_one_charge_on_one_day() -> None:
    """Nothing to compare with is no reason to fail."""
    picture = history("one", [Charge(dt.date(2026, 1, 1), 0, is_this=True)])
    assert picture.count("<circle") == 1


@given(
    st.lists(
        st.builds(
            Charge, st.dates(dt.date(2025, 1, 1), dt.date(2026, 1, 1)),
            st.integers(-10**9, 10**9), st.booleans(), st.booleans(),
        ),
        min_size=1,
        max_size=30,
    )
)  # fmt: skip
def test_every_charge_is_on_the_picture(charges: list[Charge]) -> None:
    picture = history("many", charges)
    plain = sum(not one.is_this and not one.is_flagged for one in charges)
    assert picture.count('class="dot"') == plain
    assert picture.count('class="this"') == sum(one.is_this for one in charges)
    for position in (float(one.split('"')[0]) for one in picture.split('cy="')[1:]):
        assert 0 <= position <= 190
