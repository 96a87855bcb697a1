"""Steps on workers: where each goes, in which order, and what a wrong setting says."""

import types
from collections.abc import Iterator
from typing import Any

import dagster as dg
import pytest
from celery import Celery
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.retries import RetryMode
from dagster_celery.make_app import make_app
from kombu.exceptions import OperationalError

from audit_pipeline import workers
from audit_pipeline.cli import main
from audit_pipeline.model.errors import BadUsage, BrokerUnavailable
from audit_pipeline.settings import QUEUES, Settings
from audit_pipeline_tests.environment import Workplace, command_line
from audit_pipeline_tests.postgres import free_port

BROKER = "redis://127.0.0.1:6379/0"


def _job(place: Workplace) -> dg.JobDefinition:
    return place.definitions.resolve_job_def("daily_audit")


def test_every_step_has_a_queue_and_a_priority(workplace: Workplace):
    """Assets and checks alike: a step without one would wait for a worker that nobody starts."""
    job = _job(workplace)
    tags = {node.name: job.get_node_named(node.name).tags for node in job.nodes}
    assert len(tags) == 18
    queues = {name: found.get("dagster-celery/queue") for name, found in tags.items()}
    assert set(queues.values()) == set(QUEUES)
    assert queues["escalated_flags"] == "model"
    assert {queues[name] for name in ("matches", "statements", "anomaly_scores")} == {"compute"}
    assert {queues[name] for name in ("quality_report", "quarantine", "flags", "audit_log")} == {
        "io"
    }
    for name, found in tags.items():
        assert 0 <= int(found["dagster-celery/priority"]) <= workers.PRIORITY_MAX, name


@pytest.mark.parametrize(
    ("said", "name"),
    [
        ({}, "in_process"),
        ({"AUDIT_EXECUTOR": "processes"}, "multiprocess"),
        ({"AUDIT_EXECUTOR": "celery", "AUDIT_BROKER_URL": BROKER}, "celery"),
        ({"AUDIT_EXECUTOR": "celery", "AUDIT_REDIS_URL": BROKER}, "celery"),
    ],
)
def test_the_executor_is_a_setting(workplace: Workplace, said: dict[str, str], name: str):
    place = Workplace(workplace.home, workplace.fixtures, said)
    executor = place.definitions.executor
    assert isinstance(executor, dg.ExecutorDefinition)
    assert executor.name == name
    assert _job(place).executor_def.name == name


def test_nothing_is_configured_in_a_run(workplace: Workplace):
    """No run can name another broker, nor forget to name one and go to AMQP on localhost."""
    executor = workers.executor_of(BROKER)
    assert not executor.get_config_field().is_required
    made = executor.executor_creation_fn
    assert made is not None
    built: Any = made(types.SimpleNamespace(executor_config={}))  # pyright: ignore[reportArgumentType]
    assert (built.broker, built.backend) == (BROKER, BROKER)


# ── the order on Redis ──────────────────────────────────────────────────────────────────────────

STEPS = {"quarantine": 3, "audit_log": 9, "matches": 6, "statements": 5, "escalated_flags": 8}
FIRST_TO_LAST = ["audit_log", "escalated_flags", "matches", "statements", "quarantine"]


@pytest.fixture
def app(redis_url: str) -> Iterator[Celery]:
    with make_app(workers._executor_on(redis_url).app_args()) as made:
        yield made


def _context(instance: dg.DagsterInstance) -> Any:
    job = types.SimpleNamespace(get_python_origin=lambda: None, to_dict=dict)
    return types.SimpleNamespace(
        reconstructable_job=job,
        dagster_run=types.SimpleNamespace(run_id="r"),
        instance=types.SimpleNamespace(get_ref=lambda: None, get_run_by_id=instance.get_run_by_id),
        executor=types.SimpleNamespace(retries=RetryMode.ENABLED),
    )


def _sent(app: Celery, step: str, priority: int, monkeypatch: pytest.MonkeyPatch) -> Any:
    with dg.DagsterInstance.ephemeral() as instance, monkeypatch.context() as patched:
        patched.setattr(workers, "ExecuteStepArgs", lambda **given: given["step_keys_to_execute"])
        patched.setattr(workers, "pack_value", lambda given: given)
        key = types.SimpleNamespace(key=step)
        return workers._submit(app, _context(instance), key, "compute", priority, None)


def _taken(app: Celery, queue: str) -> list[tuple[str, dict[str, Any]]]:
    """What a worker of that queue is given, in order."""
    found: list[tuple[str, dict[str, Any]]] = []
    with app.connection_for_read() as connection, connection.channel() as channel:
        while message := channel.basic_get(queue, no_ack=True):
            _, given, _ = message.decode()
            found.append((given["execute_step_args_packed"][0], message.headers))
    return found


def test_the_highest_priority_goes_first(app: Celery, monkeypatch: pytest.MonkeyPatch):
    """On Redis, where the lowest number goes first, and where priorities are rounded to four."""
    for step, priority in STEPS.items():
        _sent(app, step, priority, monkeypatch)
    assert [step for step, _ in _taken(app, "compute")] == FIRST_TO_LAST
    assert _taken(app, "compute") == []


def test_a_step_goes_to_its_queue_and_expires(app: Celery, monkeypatch: pytest.MonkeyPatch):
    """A run's priority is added to the step's: beyond the ends there is nothing."""
    for step, priority in (("a", 40), ("b", -7)):
        _sent(app, step, priority, monkeypatch)
    assert _taken(app, "io") == []
    assert _taken(app, "dagster") == []
    (first, headers), (last, _) = _taken(app, "compute")
    assert (first, last) == ("a", "b")
    assert headers["expires"] is not None


# ── a run that has been ended ───────────────────────────────────────────────────────────────────


class _Never:
    """The result of a step whose worker was killed."""

    revoked = 0

    def ready(self) -> bool:
        return False

    def revoke(self) -> None:
        self.revoked += 1


@pytest.mark.parametrize("status", [dg.DagsterRunStatus.FAILURE, dg.DagsterRunStatus.CANCELED])
def test_a_step_of_an_ended_run_is_not_waited_for(status: dg.DagsterRunStatus):
    with dg.DagsterInstance.ephemeral() as instance:
        run = dg.DagsterRun("daily_audit", status=dg.DagsterRunStatus.STARTED)
        instance.add_run(run)
        lost = _Never()
        step = workers._Submitted(lost, instance, run.run_id)
        assert not any(step.ready() for _ in range(3 * workers.LOOK_SECONDS))
        instance.delete_run(run.run_id)
        instance.add_run(run.with_status(status))
        with pytest.raises(DagsterExecutionInterruptedError):
            any(step.ready() for _ in range(workers.LOOK_SECONDS))
        assert lost.revoked == 1


# ── settings and the command ────────────────────────────────────────────────────────────────────


def test_wrong_executors_and_brokers_are_listed():
    with pytest.raises(BadUsage) as told:
        Settings.from_env({"AUDIT_EXECUTOR": "threads", "AUDIT_THREADS": "-1"})
    assert "AUDIT_EXECUTOR=threads: one of in_process, processes, celery" in str(told.value)
    assert "AUDIT_THREADS" in str(told.value)
    for url in ("", "amqp://guest:secret@localhost//"):
        with pytest.raises(BadUsage, match="AUDIT_BROKER_URL") as told:
            Settings.from_env({"AUDIT_EXECUTOR": "celery", "AUDIT_BROKER_URL": url})
        assert "secret" not in str(told.value)


def test_the_brokers_password_is_not_shown():
    settings = Settings.from_env({"AUDIT_BROKER_URL": "redis://:secret@localhost/0"})
    assert settings.broker_url.startswith("redis://:secret@")
    assert "secret" not in repr(settings)


def test_a_broker_that_does_not_answer_is_one_line():
    ended = command_line("worker", AUDIT_BROKER_URL=f"redis://:secret@127.0.0.1:{free_port()}/0")
    assert ended.returncode == 3
    (line,) = ended.stderr.strip().splitlines()
    assert "no Redis answers at redis://" in line
    assert "secret" not in line


def test_without_dagster_celery_the_command_to_install_it():
    code = "import sys; sys.modules['dagster_celery'] = None\n"
    code += "from audit_pipeline.cli import main; sys.exit(main())"
    ended = command_line("worker", program=("-c", code), AUDIT_BROKER_URL=BROKER)
    assert ended.returncode == 2
    (line,) = ended.stderr.strip().splitlines()
    assert "make setup-servers" in line


def test_a_worker_needs_a_broker(capsys: pytest.CaptureFixture[str]):
    assert main(["worker"]) == 2
    assert "AUDIT_BROKER_URL" in capsys.readouterr().err


@pytest.mark.parametrize(
    "arguments",
    [["--queues", "io,other"], ["--queues", ""], ["--name", "a b"], ["--concurrency", "0"]],
)
def test_a_worker_refuses_what_it_cannot_be(arguments: list[str]):
    with pytest.raises(SystemExit) as ended:
        main(["worker", *arguments])
    assert ended.value.code == 2


def test_what_kombu_says_of_an_absent_broker_is_expected():
    """`BrokerUnavailable` is of the tree that `cli` tells in one line."""
    with pytest.raises(BrokerUnavailable) as told:
        workers.start(f"redis://127.0.0.1:{free_port()}/0", QUEUES, "", None)
    assert isinstance(told.value.__cause__, OperationalError | OSError)
