"""The same flags, whichever way the days are audited."""

import datetime as dt
from collections.abc import Sequence
from pathlib import Path

import pytest

from audit_pipeline_tests import small_company
from audit_pipeline_tests.environment import Row, Workplace, why_not
from audit_pipeline_tests.small_company import AUDIT_FROM, AUDIT_TO

ONE_DAY = dt.timedelta(days=1)
DAYS = [AUDIT_FROM + n * ONE_DAY for n in range(30)]
Ranges = Sequence[tuple[dt.date, dt.date]]


def _audited(home: Path, books: Path, ranges: Ranges) -> Workplace:
    place = Workplace(home, books)
    with place.instance() as instance:
        for from_on, to_on in ranges:
            result = place.audit(instance, from_on, to_on)
            assert result.success, f"{from_on} … {to_on}: {why_not(result)}"
    return place


def _ledger(place: Workplace) -> list[Row]:
    return place.rows("audit_partitions", without=("audit_run_id",))


@pytest.mark.parametrize("rule_id", sorted(small_company.make().faults))
def test_the_company_has_something_to_find(audited: Workplace, rule_id: str):
    """Two audits that both find nothing would be equal too."""
    planted = set(small_company.make().faults[rule_id])
    found = {r["transaction_id"] for r in audited.findings() if r["rule_id"] == rule_id}
    assert planted <= found


def test_some_faults_ripen_while_they_are_audited(audited: Workplace):
    """Of the range's findings some are about charges of an earlier day, also before the range."""
    charged = {r["txn_id"]: r["date"][:10] for r in small_company.make()["recent_transactions"]}
    ripe = [
        r
        for r in audited.findings()
        if r["score"] and r["audit_on"] > charged.get(r["transaction_id"], "9999")
    ]
    assert {"RC-01", "RC-02", "RC-03", "RC-08", "CX-01", "CX-03", "CX-07"} <= {
        r["rule_id"] for r in ripe
    }
    assert any(charged[r["transaction_id"]] < str(AUDIT_FROM) for r in ripe)


@pytest.mark.slow
def test_thirty_runs_of_a_day(tmp_path: Path, small_books: Path, audited: Workplace):
    assert DAYS[-1] == AUDIT_TO
    place = _audited(tmp_path, small_books, [(day, day) for day in DAYS])
    assert place.findings() == audited.findings()
    assert place.flags() == audited.flags()


@pytest.mark.slow
def test_from_the_last_day_to_the_first(tmp_path: Path, small_books: Path, audited: Workplace):
    place = _audited(tmp_path, small_books, [(day, day) for day in reversed(DAYS)])
    assert place.findings() == audited.findings()
    assert place.flags() == audited.flags()


def test_two_ranges_that_overlap(tmp_path: Path, small_books: Path, audited: Workplace):
    place = _audited(tmp_path, small_books, [(DAYS[8], DAYS[-1]), (DAYS[0], DAYS[20])])
    assert place.findings() == audited.findings()
    assert place.flags() == audited.flags()
    assert _ledger(place) == _ledger(audited)


def test_the_ledger_of_a_day_whose_entries_are_flagged_later(
    tmp_path: Path, small_books: Path, audited: Workplace
):
    """An entry of 12 March is flagged on the 26th, when its rule is ripe: not cleared then."""
    place = _audited(tmp_path, small_books, [(DAYS[0], DAYS[3]), (DAYS[4], DAYS[-1])])
    assert place.flags() == audited.flags()
    assert _ledger(place) == _ledger(audited)


@pytest.mark.slow
def test_each_night_with_the_books_of_that_night(tmp_path: Path, audited: Workplace):
    """As in production: what a day's audit cannot know yet does not stand in the files either."""
    nights = DAYS[-6:]
    company = small_company.make()
    place = Workplace(tmp_path, tmp_path / "gold")
    with place.instance() as instance:
        for night in nights:
            company.write(place.fixtures, until=night)
            tonight = Workplace(tmp_path, place.fixtures)
            result = tonight.audit(instance, night, night)
            assert result.success, why_not(result)
    known = [r for r in audited.findings() if r["audit_on"] >= str(nights[0])]
    assert any(r["score"] for r in known)
    assert place.findings() == known
