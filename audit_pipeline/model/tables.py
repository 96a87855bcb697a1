"""Every table, declared once.

The fixture reader, pandera's schemas, the completeness query of the quality gate and the typed
views that the SQL rules read are all derived from these declarations. Source of the names: the
specification's gold tables; optional columns are marked, unknown extra ones warn and pass.
"""

from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """A column's type, in the words of DuckDB; `databricks` gives the other spelling."""

    TEXT = "VARCHAR"
    MONEY = "DECIMAL(18,2)"
    INSTANT = "TIMESTAMP"
    TEXT_LIST = "VARCHAR[]"
    BOOLEAN = "BOOLEAN"

    @property
    def databricks(self) -> str:
        """The type in Databricks SQL."""
        return {
            Kind.TEXT: "STRING",
            Kind.MONEY: "DECIMAL(18,2)",
            Kind.INSTANT: "TIMESTAMP",
            Kind.TEXT_LIST: "ARRAY<STRING>",
            Kind.BOOLEAN: "BOOLEAN",
        }[self]


@dataclass(frozen=True)
class Column:
    """One column: its name, type, whether the table must have it, and what it means.

    `required`: the column must be present (a missing one closes the gate) and a row without a
    value in it is incomplete. `nullable`: the column must be present, a null in it is no fault.
    """

    name: str
    kind: Kind
    meaning: str
    required: bool = True
    nullable: bool = False


@dataclass(frozen=True)
class Table:
    """One gold table: `key` identifies a row, `dated_by` puts it into a daily partition.

    Attributes:
        file_stem: another name under which a fixture file may hold this table.
        needed: without this table there is no audit; the others may be absent (empty).
    """

    name: str
    meaning: str
    key: str
    dated_by: str | None
    columns: tuple[Column, ...]
    file_stem: str | None = None
    needed: bool = False

    @property
    def full_name(self) -> str:
        """`gold.<name>`, as the SQL rules and the warehouse call it."""
        return f"gold.{self.name}"

    @property
    def required(self) -> tuple[Column, ...]:
        """The columns without which a row is incomplete."""
        return tuple(c for c in self.columns if c.required and not c.nullable)

    def column(self, name: str) -> Column:
        """The column of that name.

        Raises:
            KeyError: the table has none.
        """
        for column in self.columns:
            if column.name == name:
                return column
        raise KeyError(f"{self.full_name} has no column {name}")


def _optional(name: str, kind: Kind, meaning: str) -> Column:
    return Column(name, kind, meaning, required=False)


RECENT_TRANSACTIONS = Table(
    "recent_transactions",
    "the population that is audited: one row per ledger entry",
    key="txn_id",
    dated_by="date",
    columns=(
        Column("txn_id", Kind.TEXT, "the ledger's own id of the entry"),
        Column("source", Kind.TEXT, "where it was paid: credit_card, bank, …"),
        Column("amount", Kind.MONEY, "money out is positive, a refund negative"),
        Column("vendor", Kind.TEXT, "the descriptor as the card network or the bank wrote it"),
        Column("date", Kind.INSTANT, "when it happened, UTC"),
        _optional("vendor_id", Kind.TEXT, "the vendor's id in gold.vendors, where known"),
        _optional("domain", Kind.TEXT, "the business domain, e.g. business_operations"),
        _optional("currency", Kind.TEXT, "ISO 4217; absent means the company's own"),
    ),
    file_stem="transactions",
    needed=True,
)

CREDIT_CARDS = Table(
    "credit_cards",
    "the card issuer's statement lines",
    key="txn_id",
    dated_by="date",
    columns=(
        Column("txn_id", Kind.TEXT, "the ledger's id where the issuer carries it"),
        Column("card_number", Kind.TEXT, "masked; the last four digits identify the card"),
        Column("amount", Kind.MONEY, "charge positive, refund negative"),
        Column("vendor", Kind.TEXT, "the descriptor on the statement"),
        Column("date", Kind.INSTANT, "when it was charged, UTC"),
        _optional("category", Kind.TEXT, "the merchant category"),
        _optional("cardholder", Kind.TEXT, "the person or cost centre the card belongs to"),
        _optional("currency", Kind.TEXT, "ISO 4217 of the amount"),
    ),
)

BANK_ACCOUNTS = Table(
    "bank_accounts",
    "the bank's statement lines",
    key="txn_id",
    dated_by="date",
    columns=(
        Column("txn_id", Kind.TEXT, "the ledger's id where the bank carries it"),
        Column("account_number", Kind.TEXT, "masked"),
        Column("amount", Kind.MONEY, "sign as on the statement; normalised once, at the gate"),
        Column("payee", Kind.TEXT, "the other party as the bank wrote it"),
        Column("date", Kind.INSTANT, "when it was booked, UTC"),
        Column("transaction_type", Kind.TEXT, "debit, credit, card_payment, direct_debit, …"),
        _optional("running_balance", Kind.MONEY, "the balance after this line"),
    ),
)

EMAILS = Table(
    "emails",
    "the company's mail: the place where approvals are given",
    key="email_id",
    dated_by="date",
    columns=(
        Column("email_id", Kind.TEXT, "the message's id"),
        Column("subject", Kind.TEXT, "untrusted text"),
        Column("sender", Kind.TEXT, "the address it came from"),
        Column("date", Kind.INSTANT, "when it was sent, UTC"),
        Column("body", Kind.TEXT, "untrusted text"),
        _optional("thread_id", Kind.TEXT, "the conversation it belongs to"),
        _optional("recipients", Kind.TEXT_LIST, "the addresses it went to"),
        _optional("attachments", Kind.TEXT_LIST, "file names"),
        _optional("related_transactions", Kind.TEXT_LIST, "a hint, never proof"),
    ),
)

RECEIPTS = Table(
    "receipts",
    "documents that a cardholder handed in",
    key="receipt_id",
    dated_by="date",
    columns=(
        Column("receipt_id", Kind.TEXT, "the document's id"),
        Column("vendor", Kind.TEXT, "the name on the receipt"),
        Column("amount", Kind.MONEY, "the total on the receipt"),
        Column("date", Kind.INSTANT, "the date on the receipt, UTC"),
        _optional("cardholder", Kind.TEXT, "who handed it in"),
        _optional("category", Kind.TEXT, "as filed"),
        _optional("file_path", Kind.TEXT, "where the scan lies"),
    ),
)

CALENDAR_EVENTS = Table(
    "calendar_events",
    "meetings, trips and events that a charge may belong to",
    key="event_id",
    dated_by="date",
    columns=(
        Column("event_id", Kind.TEXT, "the event's id"),
        Column("title", Kind.TEXT, "untrusted text"),
        Column("date", Kind.INSTANT, "when it starts, UTC"),
        _optional("description", Kind.TEXT, "untrusted text"),
        _optional("attendees", Kind.TEXT_LIST, "addresses"),
    ),
)

VENDORS = Table(
    "vendors",
    "the vendor knowledge graph: one entity, its names",
    key="vendor_id",
    dated_by=None,
    columns=(
        Column("vendor_id", Kind.TEXT, "the entity's stable id"),
        Column("vendor_name", Kind.TEXT, "its usual name"),
        Column("aliases", Kind.TEXT_LIST, "other names and descriptors", nullable=True),
    ),
)

WORKFLOW_STATE = Table(
    "workflow_state",
    "the state of earlier audit runs, where a system before this one left it",
    key="audit_run_id",
    dated_by=None,
    columns=(
        Column("audit_run_id", Kind.TEXT, "the run"),
        Column("workflow_status", Kind.TEXT, "pending, in_progress, completed, failed, paused"),
        _optional("current_agent", Kind.TEXT, "the agent at work"),
        _optional("completed_agents", Kind.TEXT_LIST, "the agents that are done"),
        _optional("pending_agents", Kind.TEXT_LIST, "the agents that are not"),
        _optional("intermediate_results", Kind.TEXT, "JSON"),
        _optional("created_at", Kind.INSTANT, "UTC"),
        _optional("updated_at", Kind.INSTANT, "UTC"),
    ),
)

GOLD: tuple[Table, ...] = (
    RECENT_TRANSACTIONS,
    CREDIT_CARDS,
    BANK_ACCOUNTS,
    EMAILS,
    RECEIPTS,
    CALENDAR_EVENTS,
    VENDORS,
    WORKFLOW_STATE,
)


def gold_table(name: str) -> Table:
    """The gold table of that name, with or without `gold.` before it.

    Raises:
        KeyError: there is none.
    """
    for table in GOLD:
        if name in (table.name, table.full_name):
            return table
    raise KeyError(f"no gold table is called {name}; there are {[t.name for t in GOLD]}")
