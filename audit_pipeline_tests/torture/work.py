"""What is killed: two audits and a reviewer's decisions, made of the product's own effects."""

import datetime as dt
import os
import uuid
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, replace
from decimal import Decimal
from functools import partial
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from pydantic import BaseModel

from audit_pipeline import publishing
from audit_pipeline.adapters import process
from audit_pipeline.adapters.fixtures import read_fixtures
from audit_pipeline.adapters.llm.calls import CallLedger, Settled
from audit_pipeline.adapters.store import Store, attempts, reviewing
from audit_pipeline.adapters.store.rows import decision_id
from audit_pipeline.adapters.trail.archive import archive_to_immutable_log
from audit_pipeline.adapters.trail.sealing import Sealer
from audit_pipeline.adapters.warehouse import DuckDBWarehouse
from audit_pipeline.agents.audit_logging import ToolLog
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.question import Outcome, Question
from audit_pipeline.steps import AGENTS, Step
from audit_pipeline_tests.torture.paper import RANGES, Paper

NAMES = uuid.UUID("5d0c7f6e-7d0b-4a39-9d0e-0f8f3a6b1c11")
DECIDED_AT = dt.datetime(2025, 4, 11, 9, tzinfo=dt.UTC)
DECISIONS = 4
TABLE = "reconciliation_findings"
GOLD = '{"txn_id": "t1", "source": "bank", "amount": 1.00, "vendor": "v", "date": "2025-03-12"}'

Said = Callable[[str], None]
Put = Callable[[Step, Store, publishing.Publication], object]


@dataclass(frozen=True)
class Place:
    """Where one workload lives."""

    url: str
    folder: Path

    @property
    def fixtures(self) -> Path:
        """A gold folder of one row: its snapshot is an effect too."""
        return self.folder / "sources"

    @property
    def trail(self) -> Path:
        """Checkpoints and archives."""
        return self.folder / "trail"


def publish(step: Step, store: Store, publication: publishing.Publication) -> object:
    """As `publishing.publish` ends."""
    return step.commit(
        "publish_flags", "publish", store, lambda writer: publication.put(writer, step.run_id)
    )


def work(place: Place, paper: Paper, said: Said, put: Put = publish) -> None:
    """Both audits and the decisions between them; what is done already is not done again.

    Args:
        said: told at once what has been acknowledged: the next moment may be the last.
    """
    sealer = Sealer(place.trail, place.trail / "signing.key")
    with Store.open(place.url, sealer=sealer) as store:
        for number, publication in enumerate(paper.publications):
            root = str(uuid.uuid5(NAMES, f"audit {number}"))
            state = store.restore_workflow_state(root)
            if state.get("workflow_status") != "completed":
                audit(place, paper, store, number, root, put)
            archive_to_immutable_log(store, sealer, root)
            said(f"audit {number}")
            if number == 0:
                decide(store, publication, said)


def audit(place: Place, paper: Paper, store: Store, number: int, root: str, put: Put) -> None:
    """One audit as its steps go about it; a new Dagster run each time, the same audit."""
    publication = paper.publications[number]
    from_on, to_on = RANGES[number]
    gold: Any = SimpleNamespace(population=publication.population)
    books: Any = SimpleNamespace(from_on=from_on, to_on=to_on)
    run = str(uuid.uuid4())
    for position, agent in enumerate(AGENTS):
        bid = attempts.Bid(
            publication.population, from_on, to_on, root, run, agent, process.holder()
        )
        state = {
            "workflow_status": "in_progress",
            "current_agent": agent,
            "completed_agents": list(AGENTS[:position]),
            "pending_agents": list(AGENTS[position:]),
            "population": publication.population,
            "from_on": from_on.isoformat(),
            "to_on": to_on.isoformat(),
        }
        with store.writing("begin") as writer:
            attempt = attempts.begin(writer, bid, lambda _: None)
            writer.save_workflow_state(root, state)
        nowhere: Any = None
        step = Step(nowhere, gold, books, root, attempt, ToolLog(root, agent), store)
        step.call("look", dict, number=number)
        if agent == "reconciliation":
            partitions(place, paper, store, number, run)
        elif agent == "anomaly_detection":
            publishing.keep_rules(place.folder / "rules", paper.rules, run)
        elif agent == "context_enrichment":
            ask(store, root, from_on, to_on)
        elif agent == "escalation":
            put(step, store, publication)
        elif agent == "audit_logging":
            publishing.close(step, store)
        with store.writing("step_events") as writer:
            writer.append_events(step.log.events)
            attempts.ended(writer, run, agent)


def partitions(place: Place, paper: Paper, store: Store, number: int, run: str) -> None:
    """A snapshot of gold, and a derived table stored by audit date."""
    place.fixtures.mkdir(exist_ok=True)
    source = place.fixtures / "recent_transactions.jsonl"
    if not source.exists():
        source.write_text(GOLD + "\n", encoding="utf-8")
    snapshot = read_fixtures(place.fixtures, place.folder)
    with closing(DuckDBWarehouse(snapshot, place.folder / "derived", 1)) as warehouse:
        from_on, to_on = RANGES[number]
        commit = partial(attempts.holding, store, run)
        warehouse.replace(TABLE, from_on, to_on, paper.rows[number], commit)


def ask(store: Store, root: str, from_on: dt.date, to_on: dt.date) -> None:
    """A model's call: money that is held, then spent."""
    ledger = CallLedger(store, root, from_on, to_on, Decimal(1), Decimal(1000))
    question = Question("escalation", "classify", "default", "which?", "{}", BaseModel)
    held = ledger.reserve(question, "model", "0" * 64, 1, Decimal("0.001"), 0)
    if held is not None:
        ledger.settle(held, Settled(Outcome.ANSWERED, Decimal("0.0005"), 5, 10, 2, "{}"))


def decide(store: Store, publication: publishing.Publication, said: Said) -> None:
    """A reviewer works on the first flags, a second one agrees where the flag is critical."""
    asked = sorted(flag.transaction_id for flag in publication.raised.flags)[:DECISIONS]
    flags = {flag.transaction_id: flag.flag_id for flag in store.flags(state=None)}
    for number, flag_id in enumerate(flags[transaction_id] for transaction_id in asked):
        verdict = list(Verdict)[number % len(Verdict)]
        decision = Decision(flag_id, verdict, Reason.CORRECTED, "ann", DECIDED_AT, f"note {number}")
        with store.writing("decide") as writer:
            flag = reviewing.decide(writer, decision)
        if reviewing.awaits_second(flag):
            with store.writing("approve") as writer:
                reviewing.review_second(writer, decision_id(decision), "bob", agrees=True)
        said(f"decision {flag_id}")


def child(place: Place, paper: Paper, pipe: int, put: Put) -> None:
    """The life of a forked process; never returns."""
    code = 1
    try:
        work(place, paper, lambda text: void(os.write(pipe, f"{text}\n".encode())), put)
        code = 0
    finally:
        os._exit(code)


def void(_: object) -> None:
    """Forget it."""


def later(publication: publishing.Publication, note: str) -> publishing.Publication:
    """The same with another explanation in each flag, as an audit of newer gold would publish."""
    raised = publication.raised
    flags = [replace(flag, explanation=f"{flag.explanation} {note}") for flag in raised.flags]
    return replace(publication, raised=replace(raised, flags=flags))
