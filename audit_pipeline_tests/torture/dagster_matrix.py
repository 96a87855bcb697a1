"""`make torture-dagster`: real Dagster processes, killed one after another while an audit runs.

==========  ======================================================================================
command     the process of `audit-pipeline audit`; the same command is run again
step        the process of one step (AUDIT_EXECUTOR=processes); the daemon re-executes from failure
worker      the process of the run, launched by the daemon; the daemon finds it lost, and retries
daemon      the daemon alone; another is started
everything  daemon, code server, run and steps; a daemon is started
==========  ======================================================================================

After each the audit must end by itself, and the store must be that of an undisturbed audit.
"""

import argparse
import contextlib
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
import pytest
from sqlalchemy import select

from audit_pipeline.adapters.process import is_gone
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.schema import AUDIT_ATTEMPTS, AUDIT_STEPS
from audit_pipeline_tests import small_company
from audit_pipeline_tests.environment import (
    OURS,
    ROOT,
    Workplace,
    new_dagster_home,
    tags_of,
    why_not,
)

FROM, TO = small_company.AUDIT_FROM, small_company.AUDIT_TO
SECONDS_MAX = 420
"""Within which an audit ends by itself; a lost step is waited for, and sensors take their time."""

STEPS = (
    "quality_report", "quarantine", "matches", "statements", "reconciliation_findings",
    "anomaly_scores", "anomaly_findings", "context_findings", "escalated_flags", "flags",
    "audit_log",
)  # fmt: skip


class TooLate(Exception):
    """The audit was over before there was anything to kill; it is tried again."""


@dataclass
class Site:
    """A data directory, a DAGSTER_HOME, and the processes that work there."""

    home: Path
    gold: Path
    executor: str = "in_process"
    processes: "list[subprocess.Popen[bytes]]" = field(default_factory=list)

    @property
    def store_url(self) -> str:
        """Of the flags."""
        return f"sqlite:///{self.home / 'data' / 'audit.sqlite'}"

    @property
    def environment(self) -> dict[str, str]:
        """Nothing of ours but this."""
        clean = {k: v for k, v in os.environ.items() if not k.startswith(OURS)}
        return clean | {
            "AUDIT_FIXTURES": str(self.gold),
            "AUDIT_DATA_DIR": str(self.home / "data"),
            "AUDIT_EXECUTOR": self.executor,
            "AUDIT_THREADS": "1",
            "DAGSTER_HOME": str(self.home / "dagster_home"),
        }

    def start(self, *arguments: str) -> "subprocess.Popen[bytes]":
        """A command, with all its children in a group of its own; what it says goes to a file."""
        log = self.home / f"{len(self.processes)}.log"
        with log.open("wb") as said:
            process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                env=self.environment,
                stdout=said,
                stderr=said,
                start_new_session=True,
            )
        self.processes.append(process)
        return process

    def daemon(self) -> "subprocess.Popen[bytes]":
        """Dagster's daemon with the project's workspace."""
        return self.start("dagster._daemon", "run", "-w", "workspace.yaml")

    def launch(self, **tags: str) -> str:
        """Queue an audit of all days; returns its run id."""
        run_id = str(uuid.uuid4())
        launched = self.start(
            "dagster", "job", "launch", "-w", "workspace.yaml", "-j", "daily_audit",
            "--run-id", run_id, "--tags", json.dumps(tags_of(FROM, TO) | tags),
        )  # fmt: skip
        assert launched.wait(timeout=120) == 0, self.logs()
        return run_id

    @contextlib.contextmanager
    def instance(self) -> Iterator[dg.DagsterInstance]:
        """This home's Dagster."""
        with pytest.MonkeyPatch.context() as patched:
            patched.setenv("DAGSTER_HOME", str(self.home / "dagster_home"))
            with dg.DagsterInstance.get() as instance:
                yield instance

    def at_work(self, step: str) -> tuple[str, str]:
        """Wait until that step is at work, or one after it; its process and its run's.

        Raises:
            TooLate: the audit has ended before any of them was seen.
        """

        def seen() -> tuple[str, str] | None:
            if not (self.home / "data" / "audit.sqlite").exists():
                return None
            with Store.open(self.store_url) as store, store.reading() as connection:
                rows = connection.execute(
                    select(
                        AUDIT_STEPS.c.step_key, AUDIT_STEPS.c.holder, AUDIT_ATTEMPTS.c.worker
                    ).where(
                        AUDIT_STEPS.c.ended_at.is_(None),
                        AUDIT_STEPS.c.dagster_run_id == AUDIT_ATTEMPTS.c.dagster_run_id,
                    )
                ).all()
                is_over = "completed" in {run.workflow_status for run in store.runs()}
            for key, holder, worker in rows:
                if key in STEPS and STEPS.index(key) >= STEPS.index(step):
                    return holder, worker or ""
            if is_over:
                raise TooLate
            return None

        return self.until(f"{step} is at work", seen)

    def succeeded(self, run_id: str) -> bool | None:
        """The run, or a retry of it, has succeeded."""
        with self.instance() as instance:
            group = instance.get_run_group(run_id)
            runs = [] if group is None else list(group[1])
            if any(run.status is dg.DagsterRunStatus.SUCCESS for run in runs):
                return True
            return None

    def until(self, what: str, seen: Callable[[], Any]) -> Any:
        """Ask again and again."""
        deadline = time.monotonic() + SECONDS_MAX
        while (found := seen()) is None:
            if time.monotonic() > deadline:
                raise TimeoutError(f"{what}: not within {SECONDS_MAX} s\n{self.logs()}")
            time.sleep(0.05)
        return found

    def logs(self) -> str:
        """The ends of what the processes said, and of the runs."""
        said = [
            f"{file.name}: {file.read_text(errors='replace')[-1500:]}"
            for file in sorted(self.home.glob("*.log"))
        ]
        with self.instance() as instance:
            said += [f"{run.run_id} {run.status} {run.tags}" for run in instance.get_runs()]
        return "\n".join(said)

    def stop(self) -> None:
        """End what was started here, and its children."""
        for process in self.processes:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()


def kill(holder: str) -> None:
    """SIGKILL to a process by its name; it must be one of this machine."""
    assert not is_gone(holder), holder
    os.kill(int(holder.split(":")[1]), signal.SIGKILL)


def of_command(site: Site, step: str) -> None:
    """The command line's process."""
    killed = site.start("audit_pipeline.cli", "audit")
    site.at_work(step)
    killed.kill()
    killed.wait()
    again = site.start("audit_pipeline.cli", "audit")
    assert again.wait(timeout=SECONDS_MAX) == 0, site.logs()
    with site.instance() as instance:
        statuses = sorted(run.status.value for run in instance.get_runs())
    assert statuses == ["FAILURE", "SUCCESS"], statuses


def of_step(site: Site, step: str) -> None:
    """One step's process; Dagster is told to retry failed steps for once."""
    site.executor = "processes"
    site.daemon()
    run_id = site.launch(**{"dagster/retry_on_asset_or_op_failure": "true"})
    holder, worker = site.at_work(step)
    assert holder != worker
    kill(holder)
    site.until("the retry succeeded", lambda: site.succeeded(run_id))


def of_worker(site: Site, step: str) -> None:
    """The run's process, and with it its steps'."""
    site.executor = random.Random(step).choice(["processes", "in_process"])
    site.daemon()
    run_id = site.launch()
    holder, worker = site.at_work(step)
    kill(worker)
    site.until("its step died with it", lambda: is_gone(holder) or None)
    site.until("the retry succeeded", lambda: site.succeeded(run_id))


def of_daemon(site: Site, step: str) -> None:
    """The daemon alone."""
    daemon = site.daemon()
    run_id = site.launch()
    site.at_work(step)
    daemon.kill()
    daemon.wait()
    site.daemon()
    site.until("the run or its retry succeeded", lambda: site.succeeded(run_id))


def of_everything(site: Site, step: str) -> None:
    """All processes at once."""
    site.executor = random.Random(step).choice(["processes", "in_process"])
    daemon = site.daemon()
    run_id = site.launch()
    _, worker = site.at_work(step)
    os.killpg(daemon.pid, signal.SIGKILL)
    daemon.wait()
    site.until("the run's process is gone", lambda: is_gone(worker) or None)
    site.daemon()
    site.until("the retry succeeded", lambda: site.succeeded(run_id))


KINDS = {
    "command": of_command,
    "step": of_step,
    "worker": of_worker,
    "daemon": of_daemon,
    "everything": of_everything,
}


@dataclass(frozen=True)
class Expected:
    """What an undisturbed audit leaves."""

    flags: list[dict[str, Any]]
    findings: list[dict[str, Any]]
    partitions: list[dict[str, Any]]

    @classmethod
    def of(cls, workplace: Workplace) -> "Expected":
        """As it stands in a data directory."""
        days = workplace.rows("audit_partitions", without=("audit_run_id",))
        return cls(workplace.flags(), workplace.findings(), days)


def undisturbed(home: Path, gold: Path) -> Expected:
    """An audit that nobody kills."""
    workplace = Workplace(home, gold)
    with workplace.instance() as instance:
        result = workplace.audit(instance, FROM, TO)
        assert result.success, why_not(result)
    return Expected.of(workplace)


def faults(kind: str, step: str, home: Path, gold: Path, expected: Expected) -> list[str]:
    """Kill one process of that kind while that step is at work; what was wrong afterwards."""
    site = Site(home, gold)
    (home / "data").mkdir(parents=True)
    # Two processes that make Dagster's databases at once break them.
    shutil.copytree(new_dagster_home(), home / "dagster_home")
    try:
        KINDS[kind](site, step)
    except (AssertionError, TimeoutError) as fault:
        return [f"{kind} at {step}: {fault}"]
    finally:
        site.stop()
    found = Expected.of(Workplace(home, gold))
    wrong = [
        f"{kind} at {step}: {name} differ"
        for name in ("flags", "findings", "partitions")
        if getattr(found, name) != getattr(expected, name)
    ]
    with Store.open(site.store_url) as store:
        entries = list(store.trail())
        if [entry.log_sequence_number for entry in entries] != list(range(1, len(entries) + 1)):
            wrong.append(f"{kind} at {step}: the trail has gaps")
        if not all(entry.intact for entry in entries):
            wrong.append(f"{kind} at {step}: the trail is not intact")
        born = [e.event.output_summary["flag_id"] for e in entries
                if e.event.tool_called == "flag_created"]  # fmt: skip
        if len(born) != len(set(born)) or len(born) != len(expected.flags):
            wrong.append(f"{kind} at {step}: {len(born)} flags were born")
        statuses = {row.workflow_status for row in store.runs()}
        if "completed" not in statuses or statuses - {"completed", "failed"}:
            wrong.append(f"{kind} at {step}: workflows {statuses}")
    return wrong


def _one(kind: str, step: str, home: Path, gold: Path, expected: Expected) -> int:
    """How many faults there were; says what became of it."""
    while True:
        began = time.monotonic()
        try:
            found = faults(kind, step, home, gold, expected)
        except TooLate:
            print(f"{kind} at {step}: over before the kill; again", flush=True)
            continue
        finally:
            shutil.rmtree(home, ignore_errors=True)
        said = "; ".join(found) or "whole"
        print(f"{kind} at {step}: {said}, {time.monotonic() - began:.0f} s", flush=True)
        return len(found)


def main() -> int:
    """Each kind so many times, at random steps."""
    parser = argparse.ArgumentParser(prog="make torture-dagster", description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--kinds", type=lambda text: text.split(","), default=list(KINDS))
    options = parser.parse_args()
    chance, wrong = random.Random(options.seed), 0
    with tempfile.TemporaryDirectory(prefix="audit-matrix-") as name:
        home = Path(name)
        gold = small_company.make().write(home / "gold")
        expected = undisturbed(home / "undisturbed", gold)
        for kind in options.kinds:
            for number in range(options.times):
                step = chance.choice(STEPS)
                wrong += _one(kind, step, home / f"{kind}-{number}", gold, expected)
    print(f"{len(options.kinds) * options.times} audits, {wrong} faults", flush=True)
    return int(wrong > 0)


if __name__ == "__main__":
    sys.exit(main())
