"""What is usual for a flag's vendor: from the gold that the audit read, and from the cache."""

import datetime as dt
import json
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from decimal import Decimal
from itertools import pairwise
from statistics import median_low
from typing import Any

import pytest
import redis

from audit_pipeline import vendor_profile as module
from audit_pipeline.adapters.fixtures import read_fixtures
from audit_pipeline.adapters.state import LiveState
from audit_pipeline.adapters.store.rows import FlagRow
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.books import Books
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.query import Query
from audit_pipeline.settings import load_rules, rules_text
from audit_pipeline.vendor_profile import VendorProfile, vendor_profile
from audit_pipeline_tests.environment import Command, Workplace
from audit_pipeline_tests.small_company import AUDIT_TO


def _flags(place: Workplace) -> list[FlagRow]:
    with place.store() as store:
        return [flag for flag in store.flags(state=None) if store.queries_of(flag.flag_id)]


def _profile(place: Workplace, flag: FlagRow, live: LiveState) -> VendorProfile:
    with place.store() as store:
        found = vendor_profile(flag, store, place.settings, live)
    assert found is not None
    return found


@pytest.fixture(scope="session")
def entries(audited: Workplace) -> list[dict[str, Any]]:
    """Every transaction with its vendor, oldest first."""
    snapshot = read_fixtures(audited.fixtures, audited.data_dir)
    with closing(DuckDBWarehouse(snapshot, audited.data_dir / "derived", 1)) as warehouse:
        books = Books(warehouse, load_rules(rules_text(None)), AUDIT_TO, AUDIT_TO)
        books.need("transactions")
        query = "SELECT * FROM audit.transactions ORDER BY audit_on, transaction_id"
        return warehouse.rows(Query(query))


def test_as_plain_python_would_say(audited: Workplace, entries: list[dict[str, Any]]):
    by_id = {entry["transaction_id"]: entry for entry in entries}
    flags = [flag for flag in _flags(audited) if flag.transaction_id in by_id][:3]
    assert len(flags) == 3
    for flag in flags:
        asked = by_id[flag.transaction_id]
        vendor = asked["vendor_id"] or asked["vendor_key"]
        others = [
            entry
            for entry in entries
            if (entry["vendor_id"] or entry["vendor_key"]) == vendor
            and entry["audit_on"] <= flag.audit_on
            and entry is not asked
        ]
        found = _profile(audited, flag, LiveState())
        assert (found.vendor_id, found.vendor) == (vendor, asked["vendor"])
        assert (found.as_of, found.transactions) == (flag.audit_on, len(others))
        days = [entry["audit_on"] for entry in others]
        amounts = [entry["amount"] for entry in others]
        assert (found.first_on, found.last_on) == ((days[0], days[-1]) if days else (None, None))
        assert found.median_amount == (median_low(amounts) if amounts else None)
        gaps = [(b - a).days for a, b in pairwise(days)]
        assert found.gap_days == (median_low(gaps) if gaps else None)
        if amounts:
            assert found.low_amount is not None
            assert found.high_amount is not None
            assert min(amounts) <= found.low_amount <= found.high_amount <= max(amounts)


@pytest.fixture
def live(redis_url: str) -> Iterator[LiveState]:
    with closing(LiveState(redis_url)) as opened:
        yield opened


@pytest.fixture
def derived(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Each time that gold is opened to derive a profile."""
    seen: list[str] = []
    real = module.warehouse_then

    def counted(settings: Any, query: Any, tables: Any) -> Any:
        seen.append(query.snapshot_id)
        return real(settings, query, tables)

    monkeypatch.setattr(module, "warehouse_then", counted)
    return seen


@pytest.mark.redis
def test_derived_once(audited: Workplace, live: LiveState, derived: list[str]):
    flag = _flags(audited)[0]
    first = _profile(audited, flag, live)
    assert _profile(audited, flag, live) == first
    assert len(derived) == 1
    assert live.forget(f"vendor:{first.vendor_id}") == 1
    assert _profile(audited, flag, live) == first
    assert len(derived) == 2


@pytest.mark.redis
def test_the_key_names_the_gold(
    audited: Workplace, live: LiveState, derived: list[str], redis_url: str
):
    _profile(audited, _flags(audited)[0], live)
    with closing(redis.Redis.from_url(redis_url, protocol=2)) as raw:
        [key] = raw.keys("audit_pipeline:cache:vendor_profile:*")
        assert isinstance(key, bytes)
        assert derived[0].encode() in key
        assert 0 < raw.ttl(key) <= 86_400


@pytest.mark.redis
@pytest.mark.parametrize(
    "changes",
    [
        {"transactions": "many"},
        {"transactions": None},
        {"low_amount": "NaN"},
        {"low_amount": {}},
        {"first_on": "yesterday"},
        {"as_of": "1999-01-01"},
        {"gap_days": 1.5},
        {"invented": 1},
        None,
    ],
)
def test_garbage_is_derived_anew(
    audited: Workplace,
    live: LiveState,
    derived: list[str],
    redis_url: str,
    changes: dict[str, object] | None,
):
    flag = _flags(audited)[0]
    first = _profile(audited, flag, live)
    with closing(redis.Redis.from_url(redis_url, protocol=2)) as raw:
        [key] = raw.keys("audit_pipeline:cache:vendor_profile:*")
        kept = json.loads(raw.get(key) or b"")
        kept["value"] = None if changes is None else kept["value"] | changes
        raw.set(key, json.dumps(kept))
    assert _profile(audited, flag, live) == first
    assert len(derived) == 2


def test_a_flag_without_a_query(audited: Workplace):
    with audited.store() as store:
        flag = replace(_flags(audited)[0], flag_id="none")
        assert vendor_profile(flag, store, audited.settings, LiveState()) is None


def test_a_transaction_that_gold_does_not_have(audited: Workplace):
    """A bank line's, or one that was quarantined: it has a flag, and no vendor of the ledger."""
    with audited.store() as store:
        flag = replace(_flags(audited)[0], transaction_id="gone")
        with pytest.raises(BadUsage, match="no vendor of the ledger"):
            vendor_profile(flag, store, audited.settings, LiveState())


def test_on_the_command_line(audited: Workplace, command: Command):
    flag = _flags(audited)[0]
    ended = command("flags", flag.flag_id, "--vendor", "--data", audited.data_dir)
    assert ended.code == 0, ended.err
    assert f"up to {flag.audit_on}, without this one: " in " ".join(ended.out.split())
    ended = command("flags", flag.flag_id, "--data", audited.data_dir)
    assert "without this one" not in ended.out


def test_words_for_a_vendor(capsys: pytest.CaptureFixture[str]):
    from rich.console import Console

    from audit_pipeline import report

    on, amount = dt.date(2025, 3, 1), Decimal("1.50")
    none = dict.fromkeys(
        ("first_on", "last_on", "low_amount", "median_amount", "high_amount", "gap_days")
    )
    some: dict[str, Any] = {"first_on": on, "last_on": on, "gap_days": None}
    some |= {"low_amount": amount, "median_amount": amount, "high_amount": amount}
    often: dict[str, Any] = {**some, "gap_days": 30}
    named: dict[str, Any] = {"vendor_id": "v", "vendor": "A\x1b[31m", "as_of": on}
    console = Console(width=200)
    for profile in (
        None,
        VendorProfile(transactions=0, **named, **none),
        VendorProfile(transactions=1, **named, **some),
        VendorProfile(transactions=1, **named, **often),
    ):
        report.show_vendor(console, profile)
    lines = capsys.readouterr().out.splitlines()
    assert "cannot be looked up" in lines[0]
    assert lines[1].endswith("without this one: no other transaction")
    assert "1 from 2025-03-01 to 2025-03-01; amounts mostly 1.50 to 1.50, median 1.50" in lines[2]
    assert ", mostly 30 days apart" in lines[3]
    assert "\x1b" not in "".join(lines)
