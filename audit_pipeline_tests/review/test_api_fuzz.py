"""Whatever a program sends, in whatever form: an answer, never an error of the server's."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import product
from pathlib import Path

import pytest
import schemathesis
from fastapi import FastAPI
from hypothesis import HealthCheck, Phase, given, settings
from schemathesis.core.result import Ok
from schemathesis.generation import GenerationMode
from schemathesis.schemas import APIOperation

from audit_pipeline.adapters.store import Store
from audit_pipeline.model.person import Role
from audit_pipeline_tests.review.programs import SignedIn, app_of, fill
from audit_pipeline_tests.review.stand_in_dagster import run, serving

OURS = ("flags", "trail", "runs", "decisions", "jobs")
BRIEF, LONG = 3, 100
"""Cases of each operation that keep to its description, and as many that do not."""

CASES = settings(
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=[
        HealthCheck.too_slow,
        HealthCheck.filter_too_much,
        HealthCheck.data_too_large,
    ],
)


@pytest.fixture
def app(tmp_path: Path) -> Iterator[FastAPI]:
    """A small store, a Dagster, and an approver who is signed in."""
    who = SignedIn()
    who.as_("bob", Role.APPROVER)
    with Store.open(f"sqlite:///{tmp_path / 'desk.db'}") as store, serving() as (dagster, url):
        fill(store, 12)
        dagster.runs["one"] = run("one", "STARTED")
        app = app_of(store, tmp_path, who)
        desk = app.state.desk
        app.state.desk = replace(desk, settings=replace(desk.settings, dagster_url=url))
        yield app


def operations(app: FastAPI) -> list[APIOperation]:
    """What the description says can be asked."""
    schema = schemathesis.openapi.from_asgi("/api/v1/openapi.json", app)
    found = [each.ok() for each in schema.get_all_operations() if isinstance(each, Ok)]
    return [
        one for one in found if one.path.startswith("/api/v1/") and one.path.split("/")[3] in OURS
    ]


def answered(app: FastAPI, cases: int) -> int:
    """How many were answered, none with an error of the server's; half of them break the rules."""
    answers = 0
    for operation, mode in product(operations(app), GenerationMode):

        @settings(CASES, max_examples=cases)
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: schemathesis.Case) -> None:
            nonlocal answers
            answer = case.call()
            assert answer.status_code < 500, (case.as_curl_command(), answer.text)
            answers += 1

        ask()
    return answers


def test_no_case_is_an_error_of_the_servers(app: FastAPI) -> None:
    assert len(operations(app)) >= 15
    assert answered(app, BRIEF) >= 15


@pytest.mark.slow
def test_hundreds_of_cases_of_each_operation(app: FastAPI) -> None:
    assert answered(app, LONG) >= 15 * LONG
