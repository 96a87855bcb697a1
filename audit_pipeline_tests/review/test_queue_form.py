"""The queue's filters: what an address means, and what is wrong with it."""

import datetime as dt
from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from audit_pipeline.adapters.store.worklist import Filters
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.flag import Severity
from audit_pipeline.review.queue_form import NAMES, asked


def test_nothing_asked_is_what_is_open():
    assert asked({}, "ann").filters == Filters()


def test_everything_asked():
    given = {
        "severity": "critical",
        "rule": "RC-01",
        "vendor": " Fuel ",
        "cardholder": "Lee",
        "amount_min": "1,250.50",
        "amount_max": "-3",
        "from": "2026-01-02",
        "to": "2026-02-03",
        "state": "decided",
        "assignee": "me",
        "snoozed": "1",
        "q": "x",
        "other": "left alone",
    }
    assert asked(given, "ann").filters == Filters(
        severity=Severity.CRITICAL,
        rule="RC-01",
        vendor="Fuel",
        cardholder="Lee",
        amount_min_cents=125_050,
        amount_max_cents=-300,
        from_on=dt.date(2026, 1, 2),
        to_on=dt.date(2026, 2, 3),
        state="decided",
        assignee="ann",
        snoozed=True,
        text="x",
    )


def test_every_mistake_is_named_at_once():
    wrong = {"severity": "bad", "amount_min": "ten", "from": "2026-02-30", "state": "shut"}
    with pytest.raises(BadUsage) as refused:
        asked(wrong, "ann")
    for name in wrong:
        assert f"{name}: " in str(refused.value)


@pytest.mark.parametrize("amount", ["NaN", "Infinity", "1e30", "--1", "12.3.4", "1000000000000000"])
def test_what_no_cell_can_hold_is_no_amount(amount: str):
    with pytest.raises(BadUsage, match="amount_min"):
        asked({"amount_min": amount}, "ann")


@given(st.dictionaries(st.sampled_from(NAMES), st.text(max_size=300)))
def test_any_text_means_something_or_is_refused(given: dict[str, str]):
    """And the address made of what was understood means the same."""
    try:
        found = asked(given, "ann")
    except BadUsage:
        return
    again = asked(dict(parse_qsl(found.query, errors="surrogatepass")), "ann")
    assert again.filters == found.filters
