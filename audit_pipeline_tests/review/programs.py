"""The desk as a program meets it: a store filled by hand, and somebody who is signed in."""

import dataclasses
import datetime as dt
from decimal import Decimal
from pathlib import Path
from typing import Any, cast

from fastapi import FastAPI
from sqlalchemy import insert
from starlette.testclient import TestClient

from audit_pipeline.adapters.state import live_state
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.rows import PartitionRow
from audit_pipeline.adapters.store.schema import USERS
from audit_pipeline.model.finding import Cell, Finding
from audit_pipeline.model.flag import Charge, Flag, Point, Severity, flag_id
from audit_pipeline.model.person import Role
from audit_pipeline.model.trail import TrailEvent
from audit_pipeline.review import access
from audit_pipeline.review.access import Person
from audit_pipeline.review.app import create_app
from audit_pipeline.review.desk import Desk
from audit_pipeline.settings import Settings, load_rules, rules_text

NOON = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)
DAY = dt.date(2025, 2, 1)
SEVERITIES = (Severity.CRITICAL, Severity.WARNING, Severity.INFO)
HOSTILE = "<script>alert(1)</script>'); DROP TABLE flags;--"


def people(*, cardholder: str = "John Smith") -> list[dict[str, Any]]:
    """One of each role, and one who spends money."""
    row = {"disabled": False, "token_version": 1, "created_at": NOON, "updated_at": NOON}
    return [
        row | {"user_id": name, "display_name": name.title(), "role": role, "cardholder": whose}
        for name, role, whose in (
            ("vic", "viewer", None),
            ("ann", "reviewer", None),
            ("bob", "approver", None),
            ("cat", "approver", None),
            ("john", "approver", cardholder),
        )
    ]


def flag(number: int) -> Flag:
    """The nth: every third is critical, every fifth is John Smith's."""
    severity = SEVERITIES[number % 3]
    name = f"t{number}"
    finding = Finding(
        DAY + dt.timedelta(days=number % 7), name, "RC-01" if number % 2 else "AN-02", 2,
        Decimal("12.5"), Decimal(1), 40, (Cell("amount", "gold.bank_accounts.amount", name, "1"),),
    )  # fmt: skip
    return Flag(
        flag_id=flag_id(name, "demo"),
        transaction_id=name,
        population="demo",
        audit_on=finding.audit_on,
        severity_level=severity,
        severity_score=90 - number % 50,
        confidence_score=0.5,
        explanation=f"No bank line pays {name}.",
        links=(f"gold.bank_accounts/{name}",),
        points=(Point(finding.rule_id, 40, "no bank line"),),
        findings=(finding,),
        charge=Charge(
            HOSTILE if number == 1 else f"Vendor {number % 4}",
            f"v{number % 4}",
            "JOHN  smith" if number % 5 == 0 else "Eve Jones",
            Decimal(number * 100 + 5) / 100 * (-1 if number % 7 == 0 else 1),
            finding.audit_on,
        ),
    )


def fill(store: Store, flags: int) -> None:
    """So many flags of a run, its day in the ledger, its events; and the people."""
    raised = [flag(number) for number in range(flags)]
    with store.writing() as writer:
        writer.connection.execute(insert(USERS), people())
        writer.publish_flags("demo", raised, [one.transaction_id for one in raised], "run-1")
        days = sorted({one.audit_on for one in raised})
        found = [finding for one in raised for finding in one.findings]
        if days:
            writer.replace_findings("demo", days[0], days[-1], found, {})
        zero = Decimal("0.00")
        writer.put_partitions(
            [PartitionRow("demo", day, "run-1", 1, zero, 1, zero, 0, zero, 0, zero) for day in days]
        )
        writer.append_events(
            [
                TrailEvent(
                    "run-1",
                    "escalation",
                    "flag_created",
                    NOON,
                    output_summary={"flag_id": one.flag_id},
                )
                for one in raised
            ]
        )
        writer.save_workflow_state("run-1", {"status": "completed", "population": "demo"})


class SignedIn:
    """Who asks; a test says so by setting `person`."""

    def __init__(self) -> None:
        self.person = Person("ann", "Ann", Role.REVIEWER, "session", "token")

    def __call__(self) -> Person:
        return self.person

    def as_(self, user_id: str, role: Role) -> None:
        """From now on this one."""
        self.person = dataclasses.replace(self.person, user_id=user_id, role=role)


def app_of(store: Store, data_dir: Path, who: SignedIn) -> FastAPI:
    """The whole application over this store, with `who` signed in."""
    settings = Settings.from_env(
        {"ENVIRONMENT": "test", "AUDIT_DATA_DIR": str(data_dir), "AUDIT_FIXTURES": str(data_dir)}
    )
    desk = Desk(settings, store, load_rules(rules_text(None)), live_state(settings.redis_url))
    app = create_app(desk)
    app.dependency_overrides[access.signed_in] = who
    return app


def client_of(app: FastAPI) -> TestClient:
    """One that lets errors of the server through."""
    return cast("TestClient", TestClient(app))
