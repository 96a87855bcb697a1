"""What leaves the agents, checked with pandera before it is stored: findings and flags."""

from typing import TYPE_CHECKING

import pyarrow as pa

from audit_pipeline.model.finding import Cell, Finding

if TYPE_CHECKING:
    from collections.abc import Sequence

    from audit_pipeline.model.flag import Flag

FINDING_SCHEMA = pa.schema(
    [
        ("audit_on", pa.date32()),
        ("transaction_id", pa.string()),
        ("rule_id", pa.string()),
        ("rule_version", pa.int32()),
        ("measured", pa.decimal128(18, 4)),
        ("threshold", pa.decimal128(18, 4)),
        ("score", pa.int32()),
        (
            "evidence",
            pa.list_(
                pa.struct(
                    [
                        ("name", pa.string()),
                        ("source", pa.string()),
                        ("row_id", pa.string()),
                        ("value", pa.string()),
                    ]
                )
            ),
        ),
    ]
)


def findings_of(table: pa.Table | None) -> list[Finding]:
    """The rows of a stored table of findings; none where there is no table."""
    if table is None:
        return []
    return [
        Finding(
            audit_on=row["audit_on"],
            transaction_id=row["transaction_id"],
            rule_id=row["rule_id"],
            rule_version=row["rule_version"],
            measured=row["measured"],
            threshold=row["threshold"],
            score=row["score"],
            evidence=tuple(Cell(**cell) for cell in row["evidence"]),
        )
        for row in table.to_pylist()
    ]


def check_findings(table: pa.Table) -> pa.Table:
    """The same table, in FINDING_SCHEMA, after pandera found nothing wrong with it.

    Raises:
        pandera.errors.SchemaErrors: a defect of a rule, with every row that shows it.
    """
    import pandera.pandas as pandera  # a second to import, which only a run pays

    typed = table.select(FINDING_SCHEMA.names).cast(FINDING_SCHEMA)
    schema = pandera.DataFrameSchema(
        {
            "transaction_id": pandera.Column(str, pandera.Check.str_length(min_value=1)),
            "rule_id": pandera.Column(str, pandera.Check.str_matches(r"^[A-Z]{2}-\d{2}$")),
            "score": pandera.Column(int, pandera.Check.in_range(0, 100), coerce=True),
            "audit_on": pandera.Column(object, nullable=False),
        },
        unique=["audit_on", "transaction_id", "rule_id"],
    )
    columns = ["audit_on", "transaction_id", "rule_id", "score"]
    schema.validate(typed.select(columns).to_pandas(), lazy=True)
    return typed


def check_flags(flags: "Sequence[Flag]") -> None:
    """Raise unless every flag is one that a reviewer can be shown.

    Raises:
        pandera.errors.SchemaErrors: a defect of escalation, with every flag that shows it.
    """
    import pandas as pd
    import pandera.pandas as pandera

    schema = pandera.DataFrameSchema(
        {
            "flag_id": pandera.Column(str, pandera.Check.str_length(36, 36), unique=True),
            "transaction_id": pandera.Column(str, pandera.Check.str_length(min_value=1)),
            "severity_level": pandera.Column(
                str, pandera.Check.isin(["CRITICAL", "WARNING", "INFO"])
            ),
            "severity_score": pandera.Column(int, pandera.Check.in_range(0, 100)),
            "confidence_score": pandera.Column(float, pandera.Check.in_range(0, 1)),
            "explanation": pandera.Column(str, pandera.Check.str_length(min_value=1)),
            "findings": pandera.Column(int, pandera.Check.ge(1)),
        }
    )
    if not flags:
        return
    schema.validate(
        pd.DataFrame(
            {
                "flag_id": [flag.flag_id for flag in flags],
                "transaction_id": [flag.transaction_id for flag in flags],
                "severity_level": [str(flag.severity_level) for flag in flags],
                "severity_score": [flag.severity_score for flag in flags],
                "confidence_score": [flag.confidence_score for flag in flags],
                "explanation": [flag.explanation for flag in flags],
                "findings": [len(flag.findings) for flag in flags],
            }
        ),
        lazy=True,
    )
