"""The audit of a day sees only rows dated by then, and is the same within any range.

All rules at once, over the demo company: its books as they are, and as they were on a day.
"""

import datetime as dt
import json
from pathlib import Path

from audit_pipeline_tests.books_of import (
    AGENTS,
    Gold,
    Hit,
    audited,
    books_over,
    snapshot_of,
)

DEMO = Path(__file__).parents[2] / "fixtures" / "demo"
DAY = dt.date(2026, 3, 10)
DAYS_BEFORE, DAYS_AFTER = dt.timedelta(days=38), dt.timedelta(days=21)
RULE_IDS = [d.rule_id for agent in AGENTS.values() for d in agent.DETECTORS]

Found = dict[str, list[Hit]]


def demo(until: dt.date) -> Gold:
    """The demo company's rows that are dated by then."""
    gold: Gold = {}
    for path in DEMO.glob("*.jsonl"):
        rows = [json.loads(line, parse_float=str) for line in path.read_text().splitlines()]
        seen = [row for row in rows if not row.get("date") or row["date"][:10] <= str(until)]
        gold[path.stem] = seen
    return gold


def audit(until: dt.date, *ranges: tuple[dt.date, dt.date]) -> list[Found]:
    found: list[Found] = []
    with snapshot_of(demo(until), as_of=until) as snapshot:
        for from_on, to_on in ranges:
            with books_over(snapshot, from_on, to_on) as books:
                found.append({rule_id: audited(rule_id, books) for rule_id in RULE_IDS})
    return found


def test_later_rows_and_later_days_change_nothing() -> None:
    """The same days: as they were then, with what came later, within a longer range."""
    first = DAY - DAYS_BEFORE
    (then,) = audit(DAY, (first, DAY))
    later, longer = audit(DAY + DAYS_AFTER, (first, DAY), (first, DAY + DAYS_AFTER))
    assert sum(bool(hits) for hits in then.values()) >= 14
    for rule_id in RULE_IDS:
        assert later[rule_id] == then[rule_id], rule_id
        assert [hit for hit in longer[rule_id] if hit.audit_on <= DAY] == then[rule_id], rule_id
