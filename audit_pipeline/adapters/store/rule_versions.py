"""Which sets of thresholds the rules have had: one row for each version, recorded when used."""

import datetime as dt
import hashlib
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from sqlalchemy import Connection, insert, select, update

from audit_pipeline.adapters.store.rows import json_text
from audit_pipeline.adapters.store.schema import RULE_VERSIONS
from audit_pipeline.model.trail import canonical

if TYPE_CHECKING:
    from audit_pipeline.model.rule import Rule, Rules

BY_FILE = "rules.yaml"


def record(connection: Connection, rules: "Rules", now: dt.datetime) -> dict[str, dict[str, Any]]:
    """Keep the rules that are not known as they are now.

    A version whose content is another than it was (nobody raised its number) gets the new one;
    what it was stays in the trail.

    Returns:
        Rule id → version, content_sha256, and content_sha256_before where it had another one.
    """
    known = {
        (row["rule_id"], row["rule_version"]): row["content_sha256"]
        for row in connection.execute(select(RULE_VERSIONS)).mappings()
    }
    changed: dict[str, dict[str, Any]] = {}
    for rule_id, rule in rules:
        row = _row(rule_id, rule)
        before = known.get((rule_id, rule.version))
        if before == row["content_sha256"]:
            continue
        changed[rule_id] = {"version": rule.version, "content_sha256": row["content_sha256"]}
        if before is None:
            connection.execute(insert(RULE_VERSIONS).values(**row, **_origin(now)))
            continue
        changed[rule_id]["content_sha256_before"] = before
        connection.execute(
            update(RULE_VERSIONS)
            .where(RULE_VERSIONS.c.rule_id == rule_id, RULE_VERSIONS.c.rule_version == rule.version)
            .values(thresholds=row["thresholds"], content_sha256=row["content_sha256"])
        )
    return changed


def _row(rule_id: str, rule: "Rule") -> dict[str, Any]:
    content = canonical(rule.model_dump(mode="json"))
    thresholds = {name: f"{threshold.value:f}" for name, threshold in rule.thresholds.items()}
    return {
        "rule_id": rule_id,
        "rule_version": rule.version,
        "thresholds": json_text(thresholds),
        "content_sha256": hashlib.sha256(content).hexdigest(),
    }


def _origin(now: dt.datetime) -> Mapping[str, Any]:
    return {"reason": BY_FILE, "status": "active", "proposed_by": BY_FILE, "proposed_at": now}
