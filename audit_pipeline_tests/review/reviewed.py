"""The small company's store after people have worked on it: a copy of its own for each test."""

import datetime as dt
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from audit_pipeline.adapters.state import LiveState
from audit_pipeline.adapters.store import Store, reviewing
from audit_pipeline.adapters.store.rows import FlagRow, decision_id
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.flag import Severity
from audit_pipeline.model.person import Role
from audit_pipeline.settings import load_rules, rules_text
from audit_pipeline_tests.environment import Workplace

if TYPE_CHECKING:
    from fastapi import FastAPI
    from starlette.testclient import TestClient

NOW = dt.datetime(2025, 5, 1, 12, tzinfo=dt.UTC)


@dataclass(frozen=True)
class Reviewed:
    """Where the store and its gold are, and what was done to which flag.

    Attributes:
        decided: critical, by two people.
        refused: critical, the second person disagreed.
        wrong: a warning, false positive because the detector was wrong.
        withdrawn: a warning, decided and taken back.
    """

    place: Workplace
    store: Store
    decided: FlagRow
    refused: FlagRow
    wrong: FlagRow
    withdrawn: FlagRow


def _said(flag: FlagRow, by: str, verdict: Verdict, reason: Reason, minute: int = 0) -> Decision:
    at = NOW + dt.timedelta(minutes=minute)
    return Decision(flag.flag_id, verdict, reason, by, at, f"notes of {by}")


@pytest.fixture
def reviewed(audited: Workplace, tmp_path: Path) -> Iterator[Reviewed]:
    """A store to write to, with decisions of each kind on it, and a comment."""
    place = Workplace(tmp_path / "copy", audited.fixtures)
    shutil.copytree(audited.data_dir, place.data_dir)
    with place.store() as store:
        critical, warnings = (
            store.flags(severity=level) for level in (Severity.CRITICAL, Severity.WARNING)
        )
        done = Reviewed(place, store, critical[0], critical[1], warnings[0], warnings[1])
        wrong = (Verdict.FALSE_POSITIVE, Reason.DETECTOR_WRONG)
        with store.writing() as writer:
            for flag, agrees in ((done.decided, True), (done.refused, False)):
                said = _said(flag, "ann", Verdict.REJECTED, Reason.CORRECTED)
                reviewing.decide(writer, said)
                reviewing.review_second(
                    writer, decision_id(said), "edna", agrees=agrees, notes="looked at it"
                )
            reviewing.decide(writer, _said(done.wrong, "ben", *wrong))
            reviewing.decide(writer, _said(done.withdrawn, "ben", *wrong))
            reviewing.withdraw(writer, done.withdrawn.flag_id, "ben")
            reviewing.comment(writer, done.wrong.flag_id, "ann", "see the receipt\nof March")
        yield done


def app_of(reviewed: Reviewed, role: Role = Role.VIEWER) -> "FastAPI":
    """The desk over that store, with somebody signed in."""
    from audit_pipeline.review import access
    from audit_pipeline.review.app import create_app
    from audit_pipeline.review.desk import Desk

    rules = load_rules(rules_text(None))
    app = create_app(Desk(reviewed.place.settings, reviewed.store, rules, LiveState()))
    person = access.Person("olga", "Olga <Outside>", role, "session", "csrf")
    app.dependency_overrides[access.signed_in] = lambda: person
    return app


@pytest.fixture
def client(reviewed: Reviewed) -> "Iterator[TestClient]":
    """Somebody who may look, and no more."""
    from starlette.testclient import TestClient

    with TestClient(app_of(reviewed)) as opened:
        yield opened
