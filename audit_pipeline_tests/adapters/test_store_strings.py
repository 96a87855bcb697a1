"""Naughty strings in every text of the store: they come back to the byte, on both databases.

What a database cannot hold comes back as `columns.storable` says, the same on both. Columns of
JSON spell it out, so there nothing has to be replaced.
"""

import datetime as dt
from collections.abc import Callable
from dataclasses import replace
from decimal import Decimal
from pathlib import Path

import pytest

from audit_pipeline.adapters.store import Store, reviewing
from audit_pipeline.adapters.store.columns import storable
from audit_pipeline.adapters.store.rows import StoredQuery
from audit_pipeline.model.decision import Decision, Reason, Verdict
from audit_pipeline.model.finding import Cell, Finding
from audit_pipeline.model.flag import Flag, Point, Severity, flag_id
from audit_pipeline.model.trail import TrailEvent
from audit_pipeline_tests import corpora

pytest_plugins = ("audit_pipeline_tests.postgres",)

NOON = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)
DAY = dt.date(2025, 2, 1)


@pytest.fixture(params=["sqlite", pytest.param("postgres", marks=pytest.mark.postgres)])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of an empty store of each kind."""
    if request.param == "postgres":
        return request.getfixturevalue("postgres_url")
    return f"sqlite:///{tmp_path / 'store.db'}"


@pytest.fixture
def strings() -> list[str]:
    """All of them."""
    return corpora.naughty_strings()


def flag_with(number: int, text: str) -> Flag:
    """With the text wherever a flag has one; its transaction has an id of its own."""
    transaction_id = f"t{number}"
    return Flag(
        flag_id=flag_id(transaction_id, "p"),
        transaction_id=transaction_id,
        population="p",
        audit_on=DAY,
        severity_level=Severity.WARNING,
        severity_score=40,
        confidence_score=0.5,
        explanation=text,
        links=(text, "x"),
        points=(Point("RC-01", 40, text),),
        findings=(),
    )


def test_flags_findings_and_decisions(url: str, strings: list[str]) -> None:
    flags = [flag_with(number, text) for number, text in enumerate(strings)]
    found = [
        Finding(DAY, f.transaction_id, "RC-01", 1, Decimal(1), Decimal(0), 40, (Cell(*[t] * 4),))
        for f, t in zip(flags, strings, strict=True)
    ]
    with Store.open(url) as store:
        with store.writing() as writer:
            writer.replace_findings("p", DAY, DAY, found, {})
            writer.publish_flags("p", flags, [f.transaction_id for f in flags], "run")
            for flag, text in zip(flags, strings, strict=True):
                said = Decision(flag.flag_id, Verdict.REJECTED, Reason.CORRECTED, text, NOON, text)
                reviewing.decide(writer, said)
                reviewing.decide(writer, said)
        kept = {flag.flag_id: flag for flag in store.flags(state=None)}
        evidence = store.findings_by_flag(kept)
        for flag, text in zip(flags, strings, strict=True):
            row = kept[flag.flag_id]
            assert row.explanation == storable(text)
            assert row.links == (text, "x")
            assert [p.reason for p in row.points] == [text]
            assert (row.reviewer_id, row.reviewer_notes) == (storable(text, 255), storable(text))
            [decision] = store.decisions_of(flag.flag_id)
            assert (decision.reviewer_id, decision.notes) == (storable(text, 255), storable(text))
            [finding] = evidence[flag.flag_id]
            assert finding.evidence == (Cell(*[text] * 4),)
        assert all(entry.intact for entry in store.trail())
        with store.writing() as writer:
            changes = writer.publish_flags("p", flags, [], "run-2")
        assert len(changes.unchanged) == len(flags), "what is read back is what was written"


@pytest.mark.parametrize(
    "put",
    [
        lambda event, text: replace(event, agent_name=text),
        lambda event, text: replace(event, tool_called=text),
        lambda event, text: replace(event, error_message=text, error_stack_trace=text),
        lambda event, text: replace(event, llm_model=text, decision_chain=(text,)),
        lambda event, text: replace(event, input_data={text: text}, output_summary={"x": [text]}),
    ],
    ids=["agent", "tool", "error", "model", "documents"],
)
def test_events(url: str, strings: list[str], put: Callable[[TrailEvent, str], TrailEvent]) -> None:
    """The hash of each entry is that of what is stored, whatever had to be replaced."""
    events = [put(TrailEvent("run", "agent", "tool", NOON), text) for text in strings]
    with Store.open(url) as store:
        with store.writing() as writer:
            assert writer.append_events(events) == len(strings)
        entries = list(store.trail())
    assert all(entry.intact for entry in entries)
    for event, entry in zip(events, entries, strict=True):
        back = entry.event
        assert back.agent_name == storable(event.agent_name, 100)
        assert back.tool_called == storable(event.tool_called, 100)
        if event.error_message is not None:
            assert back.error_message == back.error_stack_trace == storable(event.error_message)
        assert back.decision_chain == event.decision_chain
        assert back.input_data == event.input_data


@pytest.mark.slow
def test_ids_of_everything(url: str, strings: list[str]) -> None:
    """As transaction, population, run and query: each is found again by itself and no other."""
    with Store.open(url) as store:
        for text in strings:
            flag = replace(
                flag_with(0, "x"),
                flag_id=flag_id(text, text),
                transaction_id=text,
                population=text,
            )
            query = StoredQuery.asked("RC-01", text, {text: text}, text, [text])
            finding = Finding(DAY, text, "RC-01", 1, Decimal(1), Decimal(0), 40, ())
            with store.writing() as writer:
                writer.put_queries([query])
                writer.replace_findings(text, DAY, DAY, [finding], {"RC-01": query.query_id})
                writer.publish_flags(text, [flag], [text], "run")
                writer.save_workflow_state(text[:30], {"population": text, "note": text})
            assert [f.transaction_id for f in store.flags(text)] == [storable(text, 255)]
            assert store.transactions_with_findings(text, DAY, DAY) == {storable(text, 255)}
            assert store.flagged_transactions(text) == {storable(text, 255)}
            assert store.restore_workflow_state(text[:30])["note"] == text
        assert len(store.flags(state=None)) == len(strings)
