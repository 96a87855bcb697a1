"""Flags: the same id for the same transaction, and the ways a flag may go."""

import uuid
from itertools import product

import pytest

from audit_pipeline.model.errors import AuditError, TransitionRefused
from audit_pipeline.model.flag import TRANSITIONS, FlagState, Severity, flag_id, transition

ALLOWED = {
    ("open", "open"),
    ("open", "decided"),
    ("open", "superseded"),
    ("decided", "decided"),
    ("decided", "open"),
    ("superseded", "superseded"),
    ("superseded", "open"),
}


@pytest.mark.parametrize(("current", "target"), [*product(FlagState, FlagState)])
def test_transitions(current: FlagState, target: FlagState) -> None:
    """A decided flag never becomes superseded, a superseded one is never decided unseen."""
    if (current, target) in ALLOWED:
        assert transition(current, target) is target
    else:
        with pytest.raises(TransitionRefused, match=f"{current} cannot become {target}"):
            transition(current, target)


def test_every_state_has_its_transitions() -> None:
    assert set(TRANSITIONS) == set(FlagState)
    assert issubclass(TransitionRefused, AuditError)


def test_a_flags_id_is_that_of_its_transaction_and_population() -> None:
    """Known answers: a change here would give every published flag a new id."""
    assert flag_id("t1", "demo") == flag_id("t1", "demo")
    assert len({flag_id("t1", "demo"), flag_id("t2", "demo"), flag_id("t1", "other")}) == 3
    assert flag_id("t1", "demo") == str(
        uuid.uuid5(uuid.UUID("6f1c2a52-9b1d-5c5e-8a55-2d1f4a1f7c10"), "t1|demo")
    )
    assert uuid.UUID(flag_id("O'Neill {x} 😀\n", "")).version == 5


def test_ranks_follow_the_severities() -> None:
    assert [level.rank for level in Severity] == [3, 2, 1]
    assert max(Severity, key=lambda level: level.rank) is Severity.CRITICAL
