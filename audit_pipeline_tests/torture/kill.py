"""Forks a workload, kills it, looks at what is left, starts it again, and compares the end."""

import os
import random
import select
import shutil
import signal
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from audit_pipeline.adapters import failpoints
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.engine import engine_of
from audit_pipeline.adapters.store.schema import METADATA
from audit_pipeline_tests.torture import state
from audit_pipeline_tests.torture.paper import Paper
from audit_pipeline_tests.torture.work import Place, Put, child, publish, work

SECONDS_MAX = 300
"""Within which a workload that nobody kills ends, on a slow machine too."""

AGAIN = 0.3
"""How often the restart is killed as well."""

FROM_NOTHING = ("migration", "snapshot")
"""Effects that happen once in the life of a store: a kill at one of them starts without them."""


@dataclass
class Toll:
    """What was found.

    Attributes:
        kills: processes that were killed.
        runs: workloads that were brought to their end.
        faults: what was wrong, each with the place of the kill.
    """

    kills: int = 0
    runs: int = 0
    faults: list[str] = field(default_factory=list[str])

    def __add__(self, other: "Toll") -> "Toll":
        return Toll(self.kills + other.kills, self.runs + other.runs, [*self.faults, *other.faults])


class Torture:
    """One database and one folder, emptied before each workload.

    Args:
        url: of an empty database on Postgres; None for SQLite in the folder.
        folder: for what the workload keeps beside it.
        put: how it publishes; the control's is another.
    """

    def __init__(self, url: str | None, folder: Path, paper: Paper, put: Put = publish) -> None:
        self.place = Place(url or f"sqlite:///{folder / 'store.sqlite'}", folder)
        self.template = folder.with_name(f"{folder.name}-template")
        self.paper = paper
        self.put = put
        self.undisturbed = self._undisturbed()

    def _undisturbed(self) -> state.Undisturbed:
        """A run that nobody kills, in this process; the failpoints that it passes are counted."""
        self.empty(from_nothing=True)
        hits: Counter[str] = Counter()
        with pytest.MonkeyPatch.context() as patched, state.stages_of(self.place) as stages:
            patched.setattr(failpoints, "here", lambda name: hits.update([name]))
            stages.add(state.read(self.place).published)
            work(self.place, self.paper, lambda _: None, publish)
        end = state.read(self.place)
        self._keep_template()
        self.empty(from_nothing=True)
        began = time.monotonic()
        pid, pipe = self._start("")
        code, _ = ended(pid, pipe)
        assert code == 0, f"the workload fails without any kill: {code}"
        return state.Undisturbed(stages, end, hits, time.monotonic() - began)

    def at_failpoint(self, name: str, chance: random.Random) -> Toll:
        """Kill at one place, at one of the times that the workload passes it."""
        times = chance.randint(1, self.undisturbed.hits[name])
        return self.tortured(f"{name}:{times}", chance, from_nothing=name.startswith(FROM_NOTHING))

    def at_random(self, chance: random.Random) -> Toll:
        """Kill at some moment."""
        when = chance.uniform(0, self.undisturbed.seconds)
        return self.tortured(when, chance, from_nothing=chance.random() < AGAIN)

    def tortured(
        self, first: str | float, chance: random.Random, *, from_nothing: bool = False
    ) -> Toll:
        """Kill, look, start again until it ends, compare."""
        self.empty(from_nothing=from_nothing)
        toll, acknowledged = Toll(), list[str]()
        when: str | float = first
        for _ in range(20):
            code, said = self._killed(when)
            acknowledged += said
            now = state.read(self.place)
            toll.faults += [f"{first}: {fault}" for fault in self._forgotten(acknowledged, now)]
            if code == 0:
                break
            if code != -signal.SIGKILL:
                toll.faults.append(f"{first}: the workload ended by itself with {code}")
                break
            toll.kills += 1
            toll.faults += [f"{first}: {fault}" for fault in self.undisturbed.half_done(now)]
            when = chance.uniform(0, self.undisturbed.seconds) if chance.random() < AGAIN else ""
        toll.runs += 1
        end = state.read(self.place)
        toll.faults += [f"{first}: {fault}" for fault in self.undisturbed.differences(end)]
        return toll

    def _killed(self, when: str | float) -> tuple[int, list[str]]:
        """One process: killed at a failpoint, after some seconds, or not at all (empty)."""
        pid, pipe = self._start(when if isinstance(when, str) else "")
        if isinstance(when, float):
            time.sleep(when)
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return ended(pid, pipe)

    def _start(self, failpoint: str) -> tuple[int, int]:
        reading, writing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os.close(reading)
            failpoints.arm(failpoint)
            child(self.place, self.paper, writing, self.put)
        os.close(writing)
        return pid, reading

    @staticmethod
    def _forgotten(acknowledged: list[str], now: state.State) -> Iterator[str]:
        """What somebody was told is done, and is not there."""
        decisions = " ".join(now.rows["decisions"])
        for line in acknowledged:
            kind, _, flag_id = line.partition(" ")
            if kind == "decision" and flag_id not in decisions:
                yield f"lost: the decision on {flag_id} was acknowledged"
            if kind == "audit" and "completed" not in now.statuses:
                yield f"lost: {line} was acknowledged"

    def _keep_template(self) -> None:
        """What lasts longer than an audit: the snapshot of gold, and on SQLite the empty store."""
        shutil.rmtree(self.template, ignore_errors=True)
        self.template.mkdir(parents=True)
        shutil.copytree(self.place.folder / "gold", self.template / "gold")
        Store.open(f"sqlite:///{self.template / 'store.sqlite'}").close()

    def empty(self, *, from_nothing: bool) -> None:
        """Begin again: without anything, or with what lasts longer than an audit."""
        shutil.rmtree(self.place.folder, ignore_errors=True)
        if from_nothing:
            self.place.folder.mkdir(parents=True)
        else:
            shutil.copytree(self.template, self.place.folder)
        engine = engine_of(self.place.url)
        try:
            if engine.dialect.name == "sqlite":
                assert engine.url.database == str(self.place.folder / "store.sqlite")
                return
            with engine.begin() as connection:
                if from_nothing:
                    METADATA.drop_all(connection)
                    connection.exec_driver_sql("DROP TABLE IF EXISTS alembic_version")
                    return
                tables = ", ".join(METADATA.tables)
                connection.exec_driver_sql(f"TRUNCATE {tables}")
        finally:
            engine.dispose()


def ended(pid: int, pipe: int) -> tuple[int, list[str]]:
    """Wait for a child; its exit code, or minus the signal that ended it, and what it said."""
    said = b""
    deadline = time.monotonic() + SECONDS_MAX
    with open(pipe, "rb", buffering=0) as stream:
        while True:
            ready, _, _ = select.select([stream], [], [], max(0, deadline - time.monotonic()))
            if not ready:
                os.kill(pid, signal.SIGABRT)
                break
            more = stream.read(65_536)
            if not more:
                break
            said += more
    _, status = os.waitpid(pid, 0)
    return os.waitstatus_to_exitcode(status), said.decode().splitlines()
