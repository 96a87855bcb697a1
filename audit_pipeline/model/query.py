"""A query: SQL that a person wrote, its parameters, and how its rows become findings.

SQL is written once, in DuckDB's dialect; `docs/decisions/0001` says why, and how Databricks gets
its own. Values are bound as parameters; only names that this project wrote are ever put into text.
"""

import datetime as dt
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import resources
from types import MappingProxyType
from typing import TYPE_CHECKING, TypeAlias

if TYPE_CHECKING:
    from collections.abc import Mapping

    from audit_pipeline.model.rule import Rule

Value: TypeAlias = str | int | float | Decimal | dt.date | None

MEASURED_MAX = 99_999_999_999_999
FINDING_COLUMNS = (
    "audit_on",
    "transaction_id",
    "rule_id",
    "rule_version",
    "measured",
    "threshold",
    "score",
    "evidence",
)


@dataclass(frozen=True)
class Query:
    """SQL text and the values of its `$parameters`."""

    sql: str
    parameters: "Mapping[str, Value]" = field(
        default_factory=lambda: MappingProxyType(dict[str, Value]())
    )


@dataclass(frozen=True)
class Detector:
    """The SQL of one rule.

    The SQL returns one row per hit, with `audit_on`, `transaction_id`, `measured`, `threshold`
    and the columns that `facts` names.

    Attributes:
        rule_id: the rule in rules.yaml.
        sql: the text; its parameters are the rule's thresholds, `from_on`, `to_on` and, where the
            rule has them, `matures_after_days` and `holidays` (with a space between).
        facts: evidence: column → `table.column` it was read from; `…@other` where the row's key is
            in the column `other` rather than in `transaction_id`.
    """

    rule_id: str
    sql: str
    facts: "Mapping[str, str]"

    def query(self, rule: "Rule", from_on: dt.date, to_on: dt.date) -> Query:
        """The findings of `rule` on the audit dates from `from_on` to `to_on`, inclusive.

        Returns:
            A query of FINDING_COLUMNS, unique on (audit_on, transaction_id), in no order.
        """
        cells = ",\n    ".join(_cell(name, source) for name, source in self.facts.items())
        sql = (
            f"SELECT audit_on, transaction_id, '{self.rule_id}' AS rule_id,\n"
            f"  CAST({rule.version} AS INTEGER) AS rule_version,\n"
            # Money goes up to 10^16, a measured value has four decimals in as many digits.
            f"  CAST(least(greatest(measured, -{MEASURED_MAX:d}), {MEASURED_MAX:d})"
            " AS DECIMAL(18,4)) AS measured,\n"
            "  CAST(threshold AS DECIMAL(18,4)) AS threshold,\n"
            f"  CAST({rule.points} AS INTEGER) AS score,\n"
            f"  [{cells}] AS evidence\n"
            f"FROM (\n{self.sql.strip()}\n) AS hit"
        )
        return Query(sql, self.parameters(rule, from_on, to_on))

    def parameters(self, rule: "Rule", from_on: dt.date, to_on: dt.date) -> "Mapping[str, Value]":
        """The parameters that this SQL names, and no others: engines refuse unused ones."""
        known: dict[str, Value] = {
            "from_on": from_on,
            "to_on": to_on,
            "matures_after_days": rule.matures_after_days,
            "holidays": " ".join(rule.holidays),
            **{name: threshold.value for name, threshold in rule.thresholds.items()},
        }
        return MappingProxyType({k: v for k, v in known.items() if f"${k}" in self.sql})


def _cell(name: str, source: str) -> str:
    column, _, key = source.partition("@")
    return (
        f"{{'name': '{name}', 'source': '{column}', "
        f"'row_id': coalesce(CAST({key or 'transaction_id'} AS VARCHAR), ''), "
        f"'value': coalesce(CAST({name} AS VARCHAR), '')}}"
    )


def sql_of(package: str, name: str) -> str:
    """The text of `<name>.sql` in that package."""
    return resources.files(package).joinpath(f"{name}.sql").read_text(encoding="utf-8")
