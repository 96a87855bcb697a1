"""One-to-one matches of every comparison, in their order: learn from the months before, decide.

The SQL runs where gold is; posteriors and assignment come from `agents.reconciliation`. Background
and model are frozen on the first day of a month (of a quarter, once there is history enough), so
that a day audited alone meets the same ones as a year's backfill.
"""

import datetime as dt
import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa

from audit_pipeline.agents.reconciliation import linkage, linkage_sql, matching, settlement, sides
from audit_pipeline.agents.reconciliation.linkage_sql import Window
from audit_pipeline.ahead import ahead
from audit_pipeline.model.query import Query

if TYPE_CHECKING:
    from audit_pipeline.adapters.protocol import Warehouse
    from audit_pipeline.model.rule import Rule, Rules

_DAY_0 = dt.date(2000, 1, 1)
LINES_AT_ONCE = 50_000
"""Right lines decided in one go; their candidates take some hundred megabytes."""
_TERM_FIELDS = [(f"{name}_term", pa.float64()) for name in linkage.TERMS]
MATCHES = pa.schema(
    [
        ("audit_on", pa.date32()),
        ("kind", pa.string()),
        ("left_id", pa.string()),
        ("right_id", pa.string()),
        ("posterior", pa.float64()),
        *_TERM_FIELDS,
        ("terms", pa.string()),
        ("rivals", pa.int32()),
        ("confidence", pa.string()),
    ]
)
NEAR_MISSES = pa.schema(
    [
        ("audit_on", pa.date32()),
        ("kind", pa.string()),
        ("line_id", pa.string()),
        ("other_id", pa.string()),
        ("posterior", pa.float64()),
        ("terms", pa.string()),
        ("rivals", pa.int32()),
    ]
)
MODELS = pa.schema(
    [
        ("audit_on", pa.date32()),
        ("kind", pa.string()),
        ("version", pa.int32()),
        ("pairs", pa.float64()),
        ("rate", pa.float64()),
        ("parameters", pa.string()),
    ]
)


@dataclass(frozen=True)
class Matched:
    """The three tables, in the schemas above; `pairs` of a model is 0 where nothing was learned."""

    matches: pa.Table
    near_misses: pa.Table
    models: pa.Table


def match_cross_source(warehouse: "Warehouse", rules: "Rules", to_on: dt.date) -> Matched:
    """All comparisons, from the first day of the data to `to_on`.

    Returns:
        Decisions dated at most `to_on`.
    """
    made: dict[str, tuple[str, dict[str, Any]]] = {}
    periods = (
        period
        for comparison in sides.COMPARISONS
        for period in _Comparison(
            warehouse, rules[comparison.rule_id], comparison, to_on, made
        ).periods()
    )
    parts = [decide() for decide in ahead(periods)]
    return Matched(
        pa.concat_tables([MATCHES.empty_table(), *(part.matches for part in parts)]),
        pa.concat_tables([NEAR_MISSES.empty_table(), *(part.near_misses for part in parts)]),
        pa.concat_tables([MODELS.empty_table(), *(part.models for part in parts)]),
    )


def _month_after(on: dt.date) -> dt.date:
    return settlement.month_after(on, 1)


def _quarter_after(on: dt.date) -> dt.date:
    while on.month % 3 != 0:
        on = _month_after(on)
    return _month_after(on)


class _Comparison:
    def __init__(
        self,
        warehouse: "Warehouse",
        rule: "Rule",
        comparison: sides.Comparison,
        to_on: dt.date,
        made: dict[str, tuple[str, dict[str, Any]]],
    ) -> None:
        self._warehouse = warehouse
        self._made = made
        self._rule = rule
        self._comparison = comparison
        self._to = (to_on - _DAY_0).days
        days = rule.whole("window_days")
        below, above = rule.number("tolerance_below"), rule.number("tolerance_above")
        # As far below as above, in logarithms; the query then keeps what the rule allows.
        self._window = Window(days, days, max(above, 1 / (1 - below) - 1))
        self._amounts = {"below": below, "above": above}

    def periods(self) -> Iterator[Callable[[], Matched]]:
        """What is to be decided, period after period; none where a side has no line.

        Models and candidates depend on no decision, so they may be made ahead of them.
        """
        left, right = (self._side(side) for side in ("left", "right"))
        if not (len(left["day"]) and len(right["day"])):
            return
        self._left, self._right = left, right
        self._used = np.zeros(len(left["day"]), np.bool_)
        on = self._day(int(right["day"][0])).replace(day=1)
        while (on - _DAY_0).days <= self._to:
            history = self._right_before(on)
            # Once there is enough to learn from, a quarter is soon enough to learn anew.
            end = _month_after(on) if history < matching.HISTORY_LINES else _quarter_after(on)
            if history == self._right_before(end):
                on = end
                continue
            model, texts = self._learned((on - _DAY_0).days, history)
            models = pa.table(
                {
                    "audit_on": [on],
                    "kind": [self._comparison.kind],
                    "version": [model.version],
                    "pairs": [round(model.pairs, 2)],
                    "rate": [round(model.rate, 4)],
                    "parameters": [json.dumps(model.as_json())],
                }
            ).cast(MODELS)
            while on < end:
                until = self._at_once(on, end)
                if self._right_before(on) < self._right_before(until):
                    yield partial(self._period, self._compared(on, until), model, texts, models)
                    models = MODELS.empty_table()
                on = until

    def _right_before(self, on: dt.date) -> int:
        return int(np.searchsorted(self._right["day"], (on - _DAY_0).days))

    def _at_once(self, on: dt.date, end: dt.date) -> dt.date:
        """Until when lines are decided in one go: whole months, as many as memory allows."""
        until = _month_after(on)
        most = self._right_before(on) + LINES_AT_ONCE
        while until < end and self._right_before(_month_after(until)) <= most:
            until = _month_after(until)
        return until

    def _compared(self, on: dt.date, until: dt.date) -> linkage.Candidates:
        first, end = (on - _DAY_0).days, (until - _DAY_0).days
        before = self._window.days_before
        self._slice("left", "day", first - before, end + before)
        self._slice("right", "day", first, end)
        return self._candidates("left_some", "right_some")

    def _period(
        self,
        pairs: linkage.Candidates,
        model: linkage.Model,
        texts: linkage.Texts,
        models: pa.Table,
    ) -> Matched:
        pairs = linkage.with_likeness(pairs, model.likeness_chance, texts)
        low = self._rule.number("posterior_low")
        days = self._left["day"], self._right["day"]
        found = matching.decide(pairs, model, *days, self._used, low)
        known = self._right["day"][pairs.right] + self._window.days_before <= self._to
        terms = {"prior": found.prior, **model.terms(pairs)}
        return Matched(
            self._match_table(pairs, found, terms, np.flatnonzero(found.matched & known)),
            self._near_table(pairs, found, terms, known),
            models,
        )

    def _learned(self, first: int, at: int) -> tuple[linkage.Model, linkage.Texts]:
        """The model for the days from that one on, and which texts tell what is rare."""
        since = max(0, at - matching.HISTORY_LINES)
        since_day = int(self._right["day"][since]) if at else first
        self._slice("right", "n", since, at)
        self._slice("left", "day", since_day - self._window.days_before, first)
        self._warehouse.create("background", linkage_sql.background("audit.right_some"))
        lefts = np.searchsorted(
            self._left["day"], [since_day - self._window.days_before, first]
        ).tolist()
        left, right = self._left["text"], self._right["text"]
        texts = linkage.Texts(
            left[lefts[0] : lefts[1]].tolist(),
            right[since:at].tolist(),
            lambda numbers: left[numbers].tolist(),
            lambda numbers: right[numbers].tolist(),
        )
        lines = lefts[1] - lefts[0], at - since
        if min(lines) < linkage_sql.LINES_LEAST:
            return linkage.Model.customary(self._window), texts
        pairs = self._candidates("left_some", "right_some")
        return matching.learned(pairs, lines, texts, self._window), texts

    def _candidates(self, left: str, right: str) -> linkage.Candidates:
        query = matching.candidates(
            f"audit.{left}", f"audit.{right}", "audit.background", self._window
        )
        with self._warehouse.joins_as_written():
            found = self._warehouse.query(Query(query.sql, {**query.parameters, **self._amounts}))
        columns = {name: found.column(name).to_numpy() for name in found.column_names}
        return matching.as_candidates(columns, self._window)

    def _side(self, side: str) -> dict[str, Any]:
        """`audit.<side>_side`, and what is needed of it here: day, id and text of each line."""
        sql = sides.ordered(getattr(self._comparison, side))
        # The charges are the left side of two comparisons, one after the other.
        if side not in self._made or self._made[side][0] != sql:
            self._warehouse.create(f"{side}_side", Query(sql, {"to_on": self._day(self._to)}))
            found = self._warehouse.query(
                Query(f"SELECT day, line_id, text FROM audit.{side}_side ORDER BY n")
            )
            columns = {
                "day": found.column("day").to_numpy().astype(np.int64),
                "id": found.column("line_id").to_numpy(),
                "text": found.column("text").to_numpy(),
            }
            self._made[side] = sql, columns
        return self._made[side][1]

    def _slice(self, side: str, by: str, start: int, end: int) -> None:
        self._warehouse.create(
            f"{side}_some",
            Query(
                f"SELECT * FROM audit.{side}_side WHERE {by} >= $start AND {by} < $end",
                {"start": start, "end": end},
            ),
        )

    def _match_table(
        self,
        pairs: linkage.Candidates,
        found: matching.Decisions,
        terms: dict[str, Any],
        at: Any,
    ) -> pa.Table:
        sure = np.round(found.posterior[at], 6) >= self._rule.number("posterior_accept")
        return (
            pa.table(
                {
                    **self._decided(pairs, found, terms, at),
                    "left_id": pa.array(self._left["id"][pairs.left[at]], pa.string()),
                    "right_id": pa.array(self._right["id"][pairs.right[at]], pa.string()),
                    **{f"{name}_term": np.round(values[at], 3) for name, values in terms.items()},
                    "confidence": pa.array(np.where(sure, "matched", "low").tolist(), pa.string()),
                }
            )
            .select(MATCHES.names)
            .cast(MATCHES)
        )

    def _near_table(
        self,
        pairs: linkage.Candidates,
        found: matching.Decisions,
        terms: dict[str, Any],
        known: Any,
    ) -> pa.Table:
        if not self._comparison.near_misses:
            return NEAR_MISSES.empty_table()
        tables = [NEAR_MISSES.empty_table()]
        for side, own, other in (
            ("left", self._left["id"][pairs.left], self._right["id"][pairs.right]),
            ("right", self._right["id"][pairs.right], self._left["id"][pairs.left]),
        ):
            at = matching.near_misses(pairs, found, self._right["day"], side)
            at = at[known[at]]
            tables.append(
                pa.table(
                    {
                        **self._decided(pairs, found, terms, at),
                        "line_id": pa.array(own[at], pa.string()),
                        "other_id": pa.array(other[at], pa.string()),
                    }
                )
                .select(NEAR_MISSES.names)
                .cast(NEAR_MISSES)
            )
        return pa.concat_tables(tables)

    def _decided(
        self, pairs: linkage.Candidates, found: matching.Decisions, terms: dict[str, Any], at: Any
    ) -> dict[str, Any]:
        """What a match and a near miss both tell of a pair, by column."""
        return {
            "audit_on": self._decided_on(pairs, at),
            "kind": pa.array([self._comparison.kind] * len(at), pa.string()),
            "posterior": np.round(found.posterior[at], 6),
            "terms": pa.array(_told(terms, at), pa.string()),
            "rivals": pa.array(found.rivals[at], pa.int32()),
        }

    def _decided_on(self, pairs: linkage.Candidates, at: Any) -> pa.Array:
        """The day of the right line plus the window."""
        days = self._right["day"][pairs.right[at]] + self._window.days_before
        since_1970 = days + (_DAY_0 - dt.date(1970, 1, 1)).days
        return pa.array(since_1970.astype(np.int32), pa.int32()).cast(pa.date32())

    @staticmethod
    def _day(number: int) -> dt.date:
        return _DAY_0 + dt.timedelta(days=number)


def _told(terms: dict[str, Any], at: Any) -> list[str]:
    """The waterfall of each pair in words: `prior −2.1, amount +5.3, …, sum +9.8`."""
    columns = [values[at].tolist() for values in terms.values()]
    return [
        ", ".join(f"{name} {value:+.1f}" for name, value in zip(terms, row, strict=True))
        + f", sum {sum(row):+.1f}"
        for row in zip(*columns, strict=True)
    ]
