"""A short form of `make torture`: each failpoint once, some moments, an orphan, the controls."""

import fcntl
import os
import random
from pathlib import Path

import pytest

from audit_pipeline.adapters.failpoints import FAILPOINTS
from audit_pipeline_tests.torture import naive
from audit_pipeline_tests.torture.kill import Toll, Torture
from audit_pipeline_tests.torture.orphans import BEFORE, awakened
from audit_pipeline_tests.torture.paper import Paper, recorded


@pytest.fixture(scope="module")
def paper(tmp_path_factory: pytest.TempPathFactory) -> Paper:
    """Two audits of the small company, recorded once for all processes of the session."""
    folder = tmp_path_factory.getbasetemp()
    if "PYTEST_XDIST_WORKER" in os.environ:
        folder = folder.parent
    with (folder / "paper.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        return recorded(folder)


@pytest.fixture(scope="module")
def torture(paper: Paper, tmp_path_factory: pytest.TempPathFactory) -> Torture:
    """On SQLite."""
    return Torture(None, tmp_path_factory.mktemp("torture") / "f", paper)


def test_the_workload_passes_every_failpoint(torture: Torture) -> None:
    assert set(FAILPOINTS) <= set(torture.undisturbed.hits)


# `make torture` kills 50 times, at all that differ.
@pytest.mark.parametrize(
    "failpoint",
    ["migration.within", "begin.within", "rename.after", "publish.within", "publish.after",
     "decide.within", "close.within", "note.after", "archived.after"],
)  # fmt: skip
def test_a_kill_loses_and_doubles_nothing(torture: Torture, failpoint: str) -> None:
    toll = torture.at_failpoint(failpoint, random.Random(failpoint))
    assert toll.faults == []
    assert toll.kills >= 1


def test_nor_does_one_at_a_random_moment(torture: Torture) -> None:
    chance = random.Random(7)
    toll = sum((torture.at_random(chance) for _ in range(5)), Toll())
    assert toll.faults == []


@pytest.mark.postgres
def test_nor_on_postgres(paper: Paper, postgres_url: str, tmp_path: Path) -> None:
    torture = Torture(postgres_url, tmp_path / "f", paper)
    chance = random.Random(7)
    tolls = [torture.at_failpoint(name, chance) for name in ("publish.within", "decide.after")]
    tolls += [torture.at_random(chance), awakened(torture, chance)]
    assert sum(tolls, Toll()).faults == []


def test_an_orphan_is_refused(torture: Torture) -> None:
    chance = random.Random(3)
    toll = sum((awakened(torture, chance) for _ in BEFORE), Toll())
    assert toll.faults == []


def test_without_a_fence_an_orphan_writes_over_its_successor(torture: Torture) -> None:
    chance = random.Random(3)
    toll = sum((awakened(torture, chance, is_fenced=False) for _ in BEFORE), Toll())
    assert any("wrote over" in fault for fault in toll.faults)


def test_the_naive_writes_are_found_out(torture: Torture, monkeypatch: pytest.MonkeyPatch) -> None:
    """Undisturbed they leave the same; killed, they do not: the harness can see."""
    monkeypatch.setattr(torture, "put", naive.publish)
    chance = random.Random(5)
    never = torture.at_failpoint("publish.within", random.Random(0))
    assert never.kills == 1
    faults = [
        fault
        for times in (3, 10, 20)
        for fault in torture.tortured(f"publish.after:{times}", chance).faults
    ]
    assert any("partial" in fault for fault in faults)
    assert any("trail:" in fault for fault in faults), "flags without the event of their birth"
