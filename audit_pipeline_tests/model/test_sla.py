"""Service levels: each severity has one, and the sharper severity the shorter."""

import datetime as dt
from itertools import pairwise

from audit_pipeline.model.flag import Severity
from audit_pipeline.model.sla import SLA_DAYS, due_at

NIGHT = dt.datetime(2024, 2, 28, 23, 59, tzinfo=dt.UTC)


def test_each_severity_has_one():
    assert list(SLA_DAYS) == list(Severity)
    assert all(sharper < milder for sharper, milder in pairwise(SLA_DAYS.values()))


def test_calendar_days_from_the_instant_it_was_raised():
    assert due_at(Severity.CRITICAL, NIGHT) == dt.datetime(2024, 2, 29, 23, 59, tzinfo=dt.UTC)
    assert due_at(Severity.WARNING, NIGHT) == dt.datetime(2024, 3, 4, 23, 59, tzinfo=dt.UTC)
    assert due_at(Severity.INFO, NIGHT) == dt.datetime(2024, 3, 29, 23, 59, tzinfo=dt.UTC)
