"""Lines that no one-to-one match took, grouped: batches, entries that cancel out, near amounts.

Asked on the day on which a line would become a finding, of the lines that are open on that day; so
a day audited alone gives what a year's backfill gives.
"""

import datetime as dt
from bisect import bisect_left, bisect_right
from typing import TYPE_CHECKING, NamedTuple

import pyarrow as pa

from audit_pipeline.agents.reconciliation import sides
from audit_pipeline.agents.reconciliation.grouping import Group, Line, group
from audit_pipeline.agents.reconciliation.linkage_sql import LINES_LEAST
from audit_pipeline.model.query import Query

if TYPE_CHECKING:
    from audit_pipeline.adapters.protocol import Warehouse

NEIGHBOUR_DAYS = 31
"""Before the line: as long as an entry may wait for the one that takes it back."""
BACKGROUND_LINES = 500
"""The last ones of a side, from which is learned what is rare."""
GROUPS = pa.schema(
    [
        ("audit_on", pa.date32()),
        ("line_id", pa.string()),
        ("group_kind", pa.string()),
        ("confidence", pa.float64()),
        ("members", pa.list_(pa.string())),
        ("reason", pa.string()),
    ]
)


def _dated(one: "_Open") -> dt.date:
    return one.on


class _Open(NamedTuple):
    """A line, and the day on which its counterpart or match was known (9999 where none was)."""

    on: dt.date
    resolved_on: dt.date
    line: Line


def groups(
    warehouse: "Warehouse", from_on: dt.date, to_on: dt.date, matures_after_days: int
) -> pa.Table:
    """One row for each line of a group that matures within the range; GROUPS.

    Args:
        warehouse: with `audit.matches` made.
        from_on: first audit date.
        to_on: last one.
        matures_after_days: a line of day D is asked about on D + this.
    """
    rows: list[tuple[object, ...]] = []
    for comparison in sides.COMPARISONS:
        if comparison.kind not in sides.ALL_LINES:
            continue
        left, right = (
            _open_lines(warehouse, comparison, side, to_on, matures_after_days)
            for side in ("left", "right")
        )
        days = sorted({one.on + dt.timedelta(days=matures_after_days) for one in (*left, *right)})
        known: dict[dt.date, list[list[Line]]] = {}
        for day in days:
            if from_on <= day <= to_on:
                month = day.replace(day=1)
                if month not in known:
                    known[month] = _background(warehouse, comparison.kind, month)
                background = known[month]
                if min(map(len, background)) < LINES_LEAST:
                    background = _background(warehouse, comparison.kind, day)
                rows += _on_day(left, right, day, matures_after_days, background)
    columns = zip(*rows, strict=True) if rows else [()] * len(GROUPS)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, GROUPS, strict=True)]
    return pa.table(arrays, schema=GROUPS)


def _on_day(
    left: list[_Open],
    right: list[_Open],
    day: dt.date,
    matures_after_days: int,
    background: list[list[Line]],
) -> list[tuple[object, ...]]:
    since = day - dt.timedelta(days=matures_after_days + NEIGHBOUR_DAYS)
    lefts, rights = _visible(left, since, day), _visible(right, since, day)
    maturing = day.toordinal() - matures_after_days
    found = group(lefts, rights, background_left=background[0], background_right=background[1])
    rows: list[tuple[object, ...]] = []
    for one in found:
        lines = _members(one, lefts, rights)
        members = sorted({line.id for line in lines})
        rows += [
            (day, line_id, one.kind, round(one.confidence, 4), members, one.reason)
            for line_id in sorted({line.id for line in lines if line.day == maturing})
        ]
    return rows


def _members(one: Group, left: list[Line], right: list[Line]) -> list[Line]:
    return [*(left[i] for i in one.left), *(right[i] for i in one.right)]


def _visible(lines: list[_Open], since: dt.date, day: dt.date) -> list[Line]:
    """The lines of those days that are still open on the last one."""
    first = bisect_left(lines, since, key=_dated)
    last = bisect_right(lines, day, key=_dated)
    return [one.line for one in lines[first:last] if one.resolved_on > day]


def _open_lines(
    warehouse: "Warehouse",
    comparison: sides.Comparison,
    side: str,
    to_on: dt.date,
    matures_after_days: int,
) -> list[_Open]:
    """The lines still open when they mature, and by when they were resolved; by day and id."""
    rows = warehouse.rows(
        Query(
            "WITH matched AS ("
            f" SELECT {side}_id AS line_id, min(audit_on) AS matched_on FROM audit.matches"
            " WHERE kind = $kind GROUP BY 1),"
            " resolved AS (SELECT line.*, least(coalesce(counterpart_on, DATE '9999-12-31'),"
            " coalesce(matched_on, DATE '9999-12-31')) AS resolved_on"
            f" FROM ({getattr(comparison, side)}) AS line"
            " LEFT JOIN matched ON matched.line_id = line.line_id WHERE line_on <= $to_on)"
            " SELECT line_id, line_on, cents, vendor_name, resolved_on FROM resolved"
            " WHERE resolved_on > line_on + CAST($matures AS INTEGER)"
            " ORDER BY line_on, line_id, cents, vendor_name",
            {"kind": comparison.kind, "to_on": to_on, "matures": matures_after_days},
        )
    )
    return [_Open(row["line_on"], row["resolved_on"], _line(row)) for row in rows]  # pyright: ignore[reportArgumentType]


def _background(warehouse: "Warehouse", kind: str, day: dt.date) -> list[list[Line]]:
    """The last lines of both sides before the month, or where those are few, up to the day."""
    return [
        [
            _line(row)
            for row in warehouse.rows(
                Query(
                    f"SELECT line_id, line_on, cents, vendor_name FROM ({side}) AS line"
                    " WHERE line_on <= $day ORDER BY line_on DESC, line_id, cents, vendor_name"
                    f" LIMIT {BACKGROUND_LINES}",
                    {"day": day},
                )
            )
        ]
        for side in sides.ALL_LINES[kind]
    ]


def _line(row: dict[str, object]) -> Line:
    on, cents = row["line_on"], row["cents"]
    assert isinstance(on, dt.date)  # noqa: S101 — the column is a DATE
    return Line(str(row["line_id"]), on.toordinal(), int(str(cents)), str(row["vendor_name"] or ""))
