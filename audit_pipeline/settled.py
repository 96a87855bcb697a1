"""Card payments against statement lines: what `agents.reconciliation.settlement` is asked with.

Lines stay in Arrow: of a card's thousands, only those of a payment that differs are looked at.
"""

import datetime as dt
from collections import defaultdict
from dataclasses import asdict
from typing import TYPE_CHECKING

import pyarrow as pa
import pyarrow.compute as pc

from audit_pipeline.agents.reconciliation import settlement, sides
from audit_pipeline.agents.reconciliation.statement_lines import Line, Lines
from audit_pipeline.model.query import Query

if TYPE_CHECKING:
    from audit_pipeline.adapters.protocol import Warehouse

STATEMENTS = pa.schema(
    [
        ("audit_on", pa.date32()),
        ("payment_id", pa.string()),
        ("payment_on", pa.date32()),
        ("card", pa.string()),
        ("status", pa.string()),
        ("period_from", pa.date32()),
        ("period_to", pa.date32()),
        ("lines", pa.int32()),
        ("lines_total", pa.decimal128(18, 2)),
        ("paid", pa.decimal128(18, 2)),
        ("difference", pa.decimal128(18, 2)),
        ("explained_by", pa.list_(pa.string())),
        ("rivals", pa.int32()),
    ]
)
ARROW_DAY_0 = dt.date(1970, 1, 1).toordinal()
"""From which Arrow counts days."""


def statements(warehouse: "Warehouse", to_on: dt.date, explain_max: int) -> pa.Table:
    """The statement of every card payment up to a day; STATEMENTS.

    Args:
        warehouse: with `audit.card_lines` and `audit.bank_lines` made.
        to_on: last audit date.
        explain_max: how many lines may explain a difference.
    """
    seen = {"to_on": to_on}
    payments = warehouse.rows(Query(sides.CARD_PAYMENTS, seen))
    if not payments:
        return STATEMENTS.empty_table()
    lines = warehouse.query(Query(sides.STATEMENT_LINES, seen))
    by_card = _by_card(lines)
    first_line_on = {card: of.column("line_on")[0].as_py() for card, of in by_card.items()}
    paid: dict[str, list[settlement.Payment]] = defaultdict(list)
    for row in payments:
        known = [card for card, first_on in first_line_on.items() if first_on <= row["line_on"]]  # pyright: ignore[reportOperatorIssue]
        card = settlement.card_named_in(str(row["vendor"]), known)
        paid[card].append(
            settlement.Payment(str(row["line_id"]), row["line_on"], int(str(row["cents"])))  # pyright: ignore[reportArgumentType]
        )
    if "all" in paid:
        by_card["all"] = lines.sort_by([("line_on", "ascending"), ("line_id", "ascending")])
    first_on = min(first_line_on.values(), default=to_on)
    found = [
        statement
        for card in sorted(paid)
        for statement in settlement.settle(
            card, _lines(by_card[card]), paid[card], first_on, explain_max
        )
    ]
    return _table(found)


def _by_card(lines: pa.Table) -> dict[str, pa.Table]:
    """The lines of each card, given in the order of the cards."""
    cards = lines.column("last4").combine_chunks()
    runs = pc.run_end_encode(cards)  # pyright: ignore[reportAttributeAccessIssue] — made at import
    ends = runs.run_ends.to_pylist()
    return {
        card: lines.slice(start, end - start)
        for card, start, end in zip(runs.values.to_pylist(), [0, *ends], ends, strict=False)
    }


def _lines(lines: pa.Table) -> Lines:
    days = (lines.column("line_on").cast(pa.int32()).to_numpy() + ARROW_DAY_0).tolist()

    def read(start: int, end: int) -> list[Line]:
        some = lines.slice(start, max(end - start, 0))
        names = ("line_id", "line_on", "cents", "vendor")
        columns = (some.column(name).to_pylist() for name in names)
        return list(map(Line, *columns))

    return Lines(days, lines.column("cents").to_pylist(), read)


def _table(found: list[settlement.Statement]) -> pa.Table:
    def dollars(cents: int) -> str:
        return f"{'-' if cents < 0 else ''}{abs(cents) // 100}.{abs(cents) % 100:02d}"

    rows = [asdict(statement) for statement in found]
    columns = {
        name: pa.array([row[name] for row in rows], STATEMENTS.field(name).type)
        for name in STATEMENTS.names
        if name not in {"lines_total", "paid", "difference"}
    }
    for name, source in (
        ("lines_total", "lines_cents"),
        ("paid", "paid_cents"),
        ("difference", "difference_cents"),
    ):
        amounts = pa.array([dollars(row[source]) for row in rows], pa.string())
        columns[name] = amounts.cast(pa.decimal128(18, 2))
    return pa.table({name: columns[name] for name in STATEMENTS.names})
