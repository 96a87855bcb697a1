"""The books as of a day: every table that the rules read, derived from gold when it is needed.

Each table is one step of the map in `TABLES`; asking for one makes those before it, once. Nothing
here depends on earlier runs: a day audited alone, on a machine that never saw the day before,
derives the same history as a year's backfill does. What a table is made of stands in the agents.
"""

import datetime as dt
from collections.abc import Callable, Iterable, Iterator, Sequence
from itertools import groupby
from operator import itemgetter
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from audit_pipeline import left_over, matches, scored, settled
from audit_pipeline.agents.anomaly_detection import rules as anomaly_rules
from audit_pipeline.agents.context_enrichment import rules as context_rules
from audit_pipeline.agents.context_enrichment import search
from audit_pipeline.agents.data_quality import gate
from audit_pipeline.agents.reconciliation import running_balance, sides, vendors
from audit_pipeline.model.query import Query, sql_of

if TYPE_CHECKING:
    from audit_pipeline.adapters.protocol import Warehouse
    from audit_pipeline.agents.anomaly_detection import forest
    from audit_pipeline.model.rule import Rule, Rules

ENTITY_SIMILARITY_MIN = 92
"""Of 100; word order aside, two names of a dozen letters may differ in one."""
ENTITY_PREFIX_LETTERS_MIN = 4
HEAVY = ("matches", "groups", "statements", "balance_breaks", "scores", "found_documents")
"""Tables that Python makes from rows that it fetches; all others are made where gold is."""
SUSPECT_SCHEMA = pa.schema(
    [("audit_on", pa.date32()), ("transaction_id", pa.string()), ("points", pa.int32())]
)
BALANCE_BREAK_SCHEMA = pa.schema(
    [
        ("audit_on", pa.date32()),
        ("account", pa.string()),
        ("line_id", pa.string()),
        ("balance", pa.decimal128(18, 2)),
        ("previous_id", pa.string()),
        ("previous_on", pa.date32()),
        ("previous_balance", pa.decimal128(18, 2)),
        ("expected", pa.decimal128(38, 2)),
    ]
)


class Books:
    """Derived tables of one audit: `need` makes them in `audit.*` of the warehouse.

    Args:
        warehouse: where gold is and the tables are made.
        rules: thresholds.
        from_on: first audit date.
        to_on: last audit date; nothing dated after it is seen.
        made: tables that the warehouse holds already.

    Attributes:
        elsewhere: makes a heavy table in another process, in the same warehouse, once what it is
            made of is there; None to make it here.
        forests: of each month with scores.
    """

    def __init__(
        self,
        warehouse: "Warehouse",
        rules: "Rules",
        from_on: dt.date,
        to_on: dt.date,
        made: Iterable[str] = (),
    ) -> None:
        self.warehouse = warehouse
        self.rules = rules
        self.from_on = from_on
        self.to_on = to_on
        self.made = set(made)
        self.elsewhere: Callable[[tuple[str, ...]], None] | None = None
        self.forests: dict[dt.date, forest.Trained] = {}

    def need(self, *tables: str) -> None:
        """Make these tables of `audit.*`, and what they are made of, unless they are there."""
        for table in tables:
            if table in self.made:
                continue
            self.need(*TABLES[table])
            if self.elsewhere is not None and table in HEAVY:
                self.elsewhere((table,))
            else:
                getattr(self, f"_make_{table}")()
            self.made.add(table)

    def _create(self, table: str, content: Query | pa.Table) -> None:
        self.warehouse.create(table, content)

    def _with(self, rule_ids: tuple[str, ...], package: str, name: str) -> Query:
        """A query of the agents with the parameters that it names, from these rules in order."""
        sql = sql_of(package, name)
        known: dict[str, object] = {"from_on": self.from_on, "to_on": self.to_on}
        for rule_id in reversed(rule_ids):
            rule = self.rules[rule_id]
            known |= {key: _bindable(rule, key) for key in rule.thresholds}
        return Query(sql, {k: v for k, v in known.items() if f"${k}" in sql})  # pyright: ignore[reportArgumentType]

    # ── data quality ────────────────────────────────────────────────────────────────────────────
    def _make_completeness(self) -> None:
        self._create("completeness", gate.check_completeness(self.from_on, self.to_on))

    def _make_vendor_keys(self) -> None:
        self._create("vendor_keys", gate.vendor_keys())

    def _make_vendor_entities(self) -> None:
        keys = self.warehouse.query(Query("SELECT DISTINCT vendor_key FROM audit.vendor_keys"))
        graph = self.warehouse.rows(
            Query(
                "SELECT vendor_id, vendor_name, list_sort(list(DISTINCT vendor_key)) AS keys FROM ("
                " SELECT vendor_id, vendor_name, unnest(list_prepend(vendor_name,"
                "   coalesce(aliases, []))) AS text"
                " FROM gold.vendors WHERE vendor_id IS NOT NULL AND vendor_name IS NOT NULL"
                ") AS named JOIN audit.vendor_keys AS k ON k.vendor = named.text"
                " GROUP BY vendor_id, vendor_name"
            )
        )
        entities = vendors.resolve_vendors(
            keys.column("vendor_key").to_pylist(),
            [(str(g["vendor_id"]), str(g["vendor_name"]), _texts(g["keys"])) for g in graph],
            ENTITY_SIMILARITY_MIN,
            ENTITY_PREFIX_LETTERS_MIN,
        )
        columns = ("vendor_key", "vendor_id", "vendor_name", "method", "similarity", "skeleton")
        self._create(
            "vendor_entities",
            pa.table(
                {
                    name: pa.array(
                        [getattr(entity, name) for entity in entities],
                        pa.int32() if name == "similarity" else pa.string(),
                    )
                    for name in columns
                }
            ),
        )

    def _make_quarantined(self) -> None:
        self._create("quarantined", gate.quarantined_entries())

    def _make_card_lines(self) -> None:
        self._create("card_lines", gate.card_lines())

    def _make_bank_lines(self) -> None:
        self._create("bank_lines", gate.bank_lines())

    def _make_receipts(self) -> None:
        self._create("receipts", gate.receipts())

    def _make_transactions(self) -> None:
        self._create("transactions", gate.transactions())

    # ── reconciliation ──────────────────────────────────────────────────────────────────────────
    def _make_ledger_ids(self) -> None:
        self._create("ledger_ids", Query(sides.LEDGER_IDS))

    def _make_matches(self) -> None:
        found = matches.match_cross_source(self.warehouse, self.rules, self.to_on)
        self._create("matches", found.matches)
        self._create("near_misses", found.near_misses)
        self._create("matching_models", found.models)

    def _make_near_misses(self) -> None:
        """Made with the matches."""

    def _make_groups(self) -> None:
        matures = self.rules["RC-03"].matures_after_days
        found = left_over.groups(self.warehouse, self.from_on, self.to_on, matures)
        self._create("groups", found)

    def _make_statements(self) -> None:
        explain_max = self.rules["RC-02"].whole("explain_max")
        self._create("statements", settled.statements(self.warehouse, self.to_on, explain_max))

    def _make_balance_breaks(self) -> None:
        lines = self.warehouse.query(Query(running_balance.LINES, {"to_on": self.to_on}))
        columns = ("account", "line_id", "line_on", "place", "amount", "balance", "is_credit")
        share_min = self.rules["RC-09"].value("followed_share_min")
        rows = [
            (
                line.on,
                account,
                line.line_id,
                line.balance,
                previous.line_id,
                previous.on,
                previous.balance,
                expected,
            )
            for account, of_account in groupby(_rows(lines, columns), key=itemgetter(0))
            for line, previous, expected in running_balance.breaks(
                (running_balance.Line(*line) for _, *line in of_account), share_min
            )
        ]
        found = [dict(zip(BALANCE_BREAK_SCHEMA.names, row, strict=True)) for row in rows]
        self._create("balance_breaks", pa.Table.from_pylist(found, BALANCE_BREAK_SCHEMA))

    # ── anomaly detection ───────────────────────────────────────────────────────────────────────
    def _make_repeats(self) -> None:
        self._create("repeats", self._with(("AN-05",), anomaly_rules.HERE, "repeats"))

    def _make_recurring(self) -> None:
        self._create("recurring", self._with(("AN-03",), anomaly_rules.HERE, "recurring"))

    def _make_firsts(self) -> None:
        self._create("firsts", self._with((), anomaly_rules.HERE, "firsts"))

    def _make_scores(self) -> None:
        self.forests = scored.score_charges(self.warehouse, self.rules, self.from_on, self.to_on)

    # ── context enrichment ──────────────────────────────────────────────────────────────────────
    def _make_approvals(self) -> None:
        self._create("approvals", self._with((), context_rules.HERE, "approvals"))

    def _make_foreign_domains(self) -> None:
        self._create(
            "foreign_domains", self._with(("CX-06",), context_rules.HERE, "foreign_domains")
        )

    def _make_approval_fits(self) -> None:
        self._create("approval_fits", self._of_large_charges("approval_fits"))

    def _make_approved_charges(self) -> None:
        self._create("approved_charges", self._of_large_charges("approved_charges"))

    def _of_large_charges(self, name: str) -> Query:
        """A query of the charges from the lowest limit on that a rule of approvals states."""
        query = self._with(("CX-07",), context_rules.HERE, name)
        rule_ids = ("CX-02", "CX-03", "CX-05", "CX-06", "CX-07")
        limit = min(_bindable(self.rules[rule_id], "limit") for rule_id in rule_ids)
        return Query(query.sql, {**query.parameters, "limit": limit})

    def _make_approval_customs(self) -> None:
        self._create("approval_customs", self._with((), context_rules.HERE, "approval_customs"))

    def enrich(self, suspects: pa.Table) -> Query:
        """CX-04: the documents that speak of each suspicious charge.

        Args:
            suspects: audit_on, transaction_id, points; one row per charge and audit date.
        """
        self._create("suspects", suspects)
        self.made.add("suspects")
        self.made.discard("found_documents")
        self.need("found_documents")
        query = self._with(("CX-04",), context_rules.HERE, "documents")
        version = self.rules["CX-04"].version
        return Query(query.sql, {**query.parameters, "rule_version": version})

    def _make_suspects(self) -> None:
        """Nobody, until `enrich` is told of some."""
        self._create("suspects", SUSPECT_SCHEMA.empty_table())

    def _make_found_documents(self) -> None:
        found = search.search_documents(self._questions(), self._documents())
        names = ("audit_on", "transaction_id", "source", "row_id", "quote", "strength")
        types = (pa.date32(), pa.string(), pa.string(), pa.string(), pa.string(), pa.int32())
        self._create(
            "found_documents",
            pa.table(
                {
                    name: pa.array([getattr(one, name) for one in found], kind)
                    for name, kind in zip(names, types, strict=True)
                }
            ),
        )

    def _questions(self) -> list[search.Question]:
        rows = self.warehouse.rows(
            Query(
                "SELECT suspect.audit_on, entry.transaction_id, concat_ws(' ',"
                " coalesce(entry.vendor_name, entry.vendor_key), entry.category, entry.cardholder,"
                " entry.amount) AS text"
                " FROM audit.suspects AS suspect JOIN audit.transactions AS entry"
                " ON entry.transaction_id = suspect.transaction_id"
                " QUALIFY row_number() OVER (PARTITION BY suspect.audit_on"
                " ORDER BY suspect.points DESC, suspect.transaction_id) <= $top"
                " ORDER BY audit_on, transaction_id",
                {"top": self.rules["CX-04"].whole("search_top")},
            )
        )
        return [search.Question(**row) for row in rows]  # pyright: ignore[reportArgumentType]

    def _documents(self) -> list[search.Document]:
        # In pieces: mail is the largest text there is, and need not be held twice.
        pieces = self.warehouse.batches(
            Query(
                "SELECT 'gold.emails.body' AS source, email_id AS row_id, audit_on AS written_on,"
                " concat_ws(' ', subject, body) AS text FROM gold.emails"
                " WHERE email_id IS NOT NULL AND audit_on <= $to_on"
                " UNION ALL SELECT 'gold.receipts.vendor', receipt_id, audit_on,"
                " concat_ws(' ', vendor, category, cardholder, amount) FROM gold.receipts"
                " WHERE receipt_id IS NOT NULL AND audit_on <= $to_on"
                " UNION ALL SELECT 'gold.calendar_events.title', event_id, audit_on,"
                " concat_ws(' ', title, description) FROM gold.calendar_events"
                " WHERE event_id IS NOT NULL AND audit_on <= $to_on",
                {"to_on": self.to_on},
            )
        )
        return [search.Document(**row) for piece in pieces for row in piece.to_pylist()]


TABLES: dict[str, tuple[str, ...]] = {
    "completeness": (),
    "vendor_keys": (),
    "vendor_entities": ("vendor_keys",),
    "quarantined": (),
    "card_lines": (),
    "bank_lines": (),
    "receipts": (),
    "transactions": ("vendor_entities", "quarantined", "card_lines", "bank_lines"),
    "ledger_ids": (),
    "matches": ("transactions", "ledger_ids", "receipts"),
    "near_misses": ("matches",),
    "groups": ("matches",),
    "statements": ("card_lines", "bank_lines"),
    "balance_breaks": (),
    "repeats": ("transactions",),
    "recurring": ("transactions",),
    "firsts": ("transactions",),
    "scores": ("transactions", "firsts", "repeats"),
    "approvals": (),
    "foreign_domains": ("approvals",),
    "approval_fits": ("transactions", "approvals"),
    "approved_charges": ("transactions", "approval_fits", "foreign_domains"),
    "approval_customs": ("approved_charges",),
    "suspects": (),
    "found_documents": ("suspects", "transactions", "matches", "receipts"),
}
"""Each table, and what it is made of; `Books._make_<table>` makes it."""


def _bindable(rule: "Rule", name: str) -> float | int:
    number = rule.thresholds[name].value
    return int(number) if number == number.to_integral_value() else float(number)


def _rows(table: pa.Table, columns: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """The rows as tuples of these columns; without a dictionary for each."""
    return zip(*(table.column(name).to_pylist() for name in columns), strict=True)


def _texts(value: object) -> list[str]:
    return [str(item) for item in value] if isinstance(value, list) else []
