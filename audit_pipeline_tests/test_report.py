"""What is printed for a person: no text of others is an order to the terminal or to rich."""

import datetime as dt
import io
from dataclasses import fields
from pathlib import Path

import pytest
from rich.console import Console

from audit_pipeline import report
from audit_pipeline.adapters.store.rows import FlagRow
from audit_pipeline.model.flag import FlagState, Point, Severity
from audit_pipeline.reconcile_result import Reconciled
from audit_pipeline.score import Scored
from audit_pipeline_tests.books_of import packaged_rules

NOON = dt.datetime(2025, 3, 1, 12, tzinfo=dt.UTC)
ORDERS = ("[/nothing]", "[bold]loud[/bold]", "[link=http://127.0.0.1]here[/link]", "a[31m\x1b[31m")


def flag_with(text: str) -> FlagRow:
    values = dict.fromkeys((field.name for field in fields(FlagRow)), text)
    known = {
        "audit_on": NOON.date(),
        "severity_level": Severity.INFO,
        "severity_score": 30,
        "confidence_score": 0.5,
        "links": (text,),
        "points": (Point("ES-04", 0, text),),
        "state": FlagState.OPEN,
    }
    return FlagRow(**values | known)  # pyright: ignore[reportArgumentType]


@pytest.mark.parametrize("order", ORDERS)
def test_a_flag_is_shown_as_it_is_written(order: str) -> None:
    """Its points, too: a model's reason for a severity stands in them."""
    said = io.StringIO()
    console = Console(file=said, width=200, force_terminal=True, color_system=None)
    report.show_flag(console, flag_with(order), [], packaged_rules())
    points = said.getvalue().split("How the score adds up")[1]
    assert order.replace("\x1b", "�") in points
    assert "\x1b[31m" not in said.getvalue()


def test_a_path_is_shown_as_it_is_written() -> None:
    """A folder may be called anything."""
    out = Path("/tmp/[/nothing]/[bold].csv")  # noqa: S108 - it is not written to
    said = io.StringIO()
    console = Console(file=said, width=200)
    report.show_scores(console, Scored(), out, 1)
    none = {"left": 0, "right": 0}
    report.show_reconciliation(console, Reconciled(none, none, False, {}, {}, none, none), out, 1)
    assert said.getvalue().count(f"Written to {out} in 1.0 s.") == 2
