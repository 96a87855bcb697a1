"""What an audit stores beside the store: one table for each asset, declared once.

A row belongs to an audit date (`audit_on`); a run replaces the rows of its dates and no others.
Types are in the words of Databricks, which creates the tables from here; a test holds what fixtures
store against the same declaration.
"""

from dataclasses import dataclass


@dataclass(frozen=True)
class StoredColumn:
    """A column: its name, its type in Databricks SQL, what it means."""

    name: str
    kind: str
    meaning: str


@dataclass(frozen=True)
class StoredTable:
    """The rows of one asset."""

    name: str
    meaning: str
    columns: tuple[StoredColumn, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """The columns' names, in their order."""
        return tuple(column.name for column in self.columns)


_ON = StoredColumn("audit_on", "DATE", "the audit date, UTC")
_ENTRY = StoredColumn("transaction_id", "STRING", "the audited ledger entry")
_MONEY = "DECIMAL(18,2)"
_TOTAL = "DECIMAL(20,2)"


def _table(name: str, meaning: str, *columns: StoredColumn | tuple[str, str, str]) -> StoredTable:
    made = [c if isinstance(c, StoredColumn) else StoredColumn(*c) for c in columns]
    return StoredTable(name, meaning, tuple(made))


def _findings(agent: str) -> StoredTable:
    return _table(
        f"{agent}_findings",
        f"what the rules of {agent.replace('_', ' ')} found: one row for each rule that an entry"
        " met on an audit date",
        _ON,
        _ENTRY,
        ("rule_id", "STRING", "e.g. RC-02"),
        ("rule_version", "INT", "which thresholds and which SQL"),
        ("measured", "DECIMAL(18,4)", "the quantity that the rule compares"),
        ("threshold", "DECIMAL(18,4)", "what it was compared with"),
        ("score", "INT", "points that the rule gives"),
        (
            "evidence",
            "ARRAY<STRUCT<name: STRING, source: STRING, row_id: STRING, value: STRING>>",
            "every fact, and the table, column and row it was read from",
        ),
    )


_SIGNALS = (
    *("amount_category", "amount_vendor", "amount_entity", "amount_pair", "tail_company"),
    *("tail_category", "tail_vendor", "tail_entity", "category_entity", "category_vendor"),
    *("pair_new", "vendor_rare", "vendor_new", "hour_category", "hour_entity", "weekday_entity"),
    *("weekday_vendor", "velocity", "spent", "new_vendors", "forest"),
)

STORED: tuple[StoredTable, ...] = (
    _table(
        "quality_report",
        "completeness, duplicates and future dates, by gold table and day",
        _ON,
        ("table_name", "STRING", "the gold table"),
        ("rows_read", "BIGINT", "rows of that day that could be read"),
        ("rejected", "BIGINT", "rows of that day that could not"),
        ("cells_required", "BIGINT", "rows times required columns"),
        ("cells_filled", "BIGINT", "how many of them have a value"),
        ("completeness", "DOUBLE", "filled of required, 0 to 1"),
        ("duplicates", "BIGINT", "rows whose key another row has"),
        ("future", "BIGINT", "rows dated after the data was received"),
        (
            "missing_by_field",
            "ARRAY<STRUCT<field: STRING, missing: BIGINT>>",
            "how many values each required column lacks",
        ),
    ),
    _table(
        "quarantine",
        "ledger entries that cannot be audited, each with its reason",
        _ON,
        _ENTRY,
        ("row_number", "BIGINT", "the row's place in its source"),
        ("amount", _MONEY, "where it could be read"),
        ("vendor", "STRING", "where it could be read"),
        ("dated", "STRING", "the date as it was written"),
        ("rule_id", "STRING", "the rule that put it aside"),
        ("reason", "STRING", "why"),
    ),
    _findings("quality"),
    _table(
        "matches",
        "lines of two sources that are the same payment, one to one",
        _ON,
        ("kind", "STRING", "which two sources"),
        ("left_id", "STRING", "the line of the first source"),
        ("right_id", "STRING", "the line of the second"),
        ("posterior", "DOUBLE", "the probability that they are the same payment"),
        *(
            (f"{term}_term", "DOUBLE", "bits for (above 0) or against the match")
            for term in ("prior", "amount", "day", "text", "boundary", "person")
        ),
        ("terms", "STRING", "the same in words"),
        ("rivals", "INT", "other lines that could have been it"),
        ("confidence", "STRING", "matched or low"),
    ),
    _table(
        "matching_models",
        "what matching had learned, and from when on it holds",
        _ON,
        ("kind", "STRING", "which two sources"),
        ("version", "INT", "of the model's form"),
        ("pairs", "DOUBLE", "how many pairs it was learned from"),
        ("rate", "DOUBLE", "the share of lines that have a partner"),
        ("parameters", "STRING", "JSON object"),
    ),
    _table(
        "statements",
        "card payments against the lines of their period",
        _ON,
        ("payment_id", "STRING", "the bank line of the payment"),
        ("payment_on", "DATE", "when it was paid"),
        ("card", "STRING", "the card's last four digits"),
        ("status", "STRING", "settled, differs or without a period"),
        ("period_from", "DATE", "the first day of the statement's period"),
        ("period_to", "DATE", "its last day"),
        ("lines", "INT", "charges of the period"),
        ("lines_total", _MONEY, "their sum"),
        ("paid", _MONEY, "what was paid"),
        ("difference", _MONEY, "paid less the sum"),
        ("explained_by", "ARRAY<STRING>", "the charges that explain the difference"),
        ("rivals", "INT", "other sets of charges that would"),
    ),
    _findings("reconciliation"),
    _table(
        "anomaly_scores",
        "every charge's anomaly score, with the bits of each signal",
        _ENTRY,
        _ON,
        ("payer", "STRING", "the card or account it was paid with"),
        ("vendor_id", "STRING", "the vendor's entity"),
        ("vendor", "STRING", "the name on the charge"),
        ("amount", _MONEY, "of the charge"),
        ("is_vendor_first", "BOOLEAN", "the vendor was never paid before"),
        ("usual_amount", _MONEY, "the median of this payer at this vendor"),
        ("pair_charges", "BIGINT", "charges of this payer at this vendor in the year before"),
        ("vendor_charges", "BIGINT", "charges at this vendor in it"),
        ("company_charges", "BIGINT", "all charges in it"),
        ("distance", "DOUBLE", "deviations from the usual amount"),
        ("upper_decile", _MONEY, "nine of ten charges are below"),
        ("score", "DOUBLE", "0 to 100"),
        ("bits", "DOUBLE", "surprise of all signals together"),
        ("companions", "INT", "other unusual charges beside it"),
        ("reasons", "STRING", "why, in words; empty for a low score"),
        *((f"{name}_bits", "FLOAT", "surprise of this signal") for name in _SIGNALS),
    ),
    _findings("anomaly"),
    _findings("context"),
    _table(
        "escalated_flags",
        "the flags of the entries that a run touched, before they are published",
        _ON,
        ("flag_id", "STRING", "uuid5 of transaction and population"),
        _ENTRY,
        ("severity_level", "STRING", "CRITICAL, WARNING or INFO"),
        ("severity_score", "INT", "0 to 100, the sum of the points"),
        ("confidence_score", "DOUBLE", "0 to 1, how sure the rules are"),
        ("explanation", "STRING", "generated from the evidence"),
        ("model_basis", "STRING", "why a language model was asked, or why not"),
        ("model_outcome", "STRING", "what came of asking"),
        ("model_severity", "STRING", "what it said"),
        ("model_reason", "STRING", "why it said so"),
        ("model_explained", "STRING", "whether its explanation was taken"),
        ("model_explanation", "STRING", "its explanation"),
        ("model_held_back", "BOOLEAN", "not asked on purpose, to compare"),
    ),
    _table(
        "audit_log",
        "the disposition ledger: flagged + cleared + quarantined = gold, each day",
        _ON,
        ("transactions", "BIGINT", "gold rows of that day"),
        ("amount", _TOTAL, "their sum"),
        ("flagged", "BIGINT", "rows with a flag"),
        ("flagged_amount", _TOTAL, "their sum"),
        ("cleared", "BIGINT", "rows without one"),
        ("cleared_amount", _TOTAL, "their sum"),
        ("quarantined", "BIGINT", "rows that could not be audited"),
        ("quarantined_amount", _TOTAL, "their sum"),
    ),
)


def stored_table(name: str) -> StoredTable:
    """The stored table of that name.

    Raises:
        KeyError: no asset stores rows under it.
    """
    for table in STORED:
        if table.name == name:
            return table
    raise KeyError(f"no asset stores rows as {name}")
