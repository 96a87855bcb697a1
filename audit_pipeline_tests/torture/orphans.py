"""A process that outlived its run: stopped before it writes, woken when its successor is done.

Killing a run's process leaves a step at work that knows nothing of it; so does a machine that
hangs, or a network that comes back. What such a step would write is refused.
"""

import os
import random
import signal
from collections.abc import Callable

import pytest

from audit_pipeline.adapters import failpoints
from audit_pipeline.adapters.store import Store, attempts
from audit_pipeline_tests.torture import state
from audit_pipeline_tests.torture.kill import Toll, Torture, ended
from audit_pipeline_tests.torture.paper import Paper
from audit_pipeline_tests.torture.work import child, later, publish, work

BEFORE = ("begin.before", "partition.before", "publish.before", "close.before", "reserve.before")
"""Places where an orphan may stand still; it holds no lock there."""


def awakened(torture: Torture, chance: random.Random, *, is_fenced: bool = True) -> Toll:
    """One orphan: what it does after its successor has audited newer gold.

    Args:
        is_fenced: False takes the fence away: the control, which must be found out.
    """
    place, toll = torture.place, Toll(kills=0, runs=1)
    torture.empty(from_nothing=False)
    name = chance.choice(BEFORE)
    # Not at its very first step: before that it is nobody's orphan.
    first = 2 if name == "begin.before" else 1
    left = chance.randint(first, max(first, torture.undisturbed.hits[name] // 2))
    reading, writing = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.close(reading)
        with pytest.MonkeyPatch.context() as patched:
            patched.setattr(failpoints, "here", _stopping(name, left))
            if not is_fenced:
                patched.setattr(attempts, "require", lambda *_: None)
            child(place, torture.paper, writing, publish)
    os.close(writing)
    _, status = os.waitpid(pid, os.WUNTRACED)
    where = f"orphan at {name}:{left}"
    if not os.WIFSTOPPED(status):
        toll.faults.append(f"{where}: it did not stand still")
        os.close(reading)
        return toll
    newer = Paper(
        tuple(later(publication, "(newer)") for publication in torture.paper.publications),
        torture.paper.rows,
        torture.paper.rules,
    )
    work(place, newer, lambda _: None)
    expected = state.read(place)
    os.kill(pid, signal.SIGCONT)
    code, _ = ended(pid, reading)
    now = state.read(place)
    if code == 0:
        toll.faults.append(f"{where}: it went on to its end")
    if now.rows != expected.rows or now.files != expected.files:
        toll.faults.append(f"{where}: it wrote over its successor")
    if now.statuses != expected.statuses:
        toll.faults.append(f"{where}: workflows {now.statuses}")
    toll.faults += [f"{where}: {fault}" for fault in now.broken]
    with Store.open(place.url) as store:
        if attempts.held(store):
            toll.faults.append(f"{where}: days are held by nobody")
    return toll


def _stopping(name: str, left: int) -> Callable[[str], None]:
    """In place of `failpoints.here`: stand still at that place, at that time."""
    count = left

    def here(passed: str) -> None:
        nonlocal count
        if passed == name:
            count -= 1
            if count == 0:
                os.kill(os.getpid(), signal.SIGSTOP)

    return here
