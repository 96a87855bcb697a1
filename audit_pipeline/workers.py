"""Steps of a run on several machines: dagster-celery's executor and workers, on Redis.

One process holds the run and hands each step whose inputs are ready to a queue; a worker anywhere
takes it, executes it as the run's own process would, and writes its events to Dagster's storage.

The settings below are for few, long steps. Celery's own are for many short tasks.
"""

import os
from collections.abc import Generator, Sequence
from dataclasses import dataclass
from typing import Any

import dagster as dg
from dagster import DagsterEvent
from dagster._core.errors import DagsterExecutionInterruptedError
from dagster._core.execution.retries import RetryMode
from dagster._grpc.types import ExecuteStepArgs
from dagster._serdes import pack_value

from audit_pipeline.model.errors import BadUsage, BrokerUnavailable
from audit_pipeline.reaper import executed_here

try:
    from celery import Celery
    from celery.exceptions import OperationalError as BackendAway
    from dagster_celery.config import TASK_EXECUTE_PLAN_NAME
    from dagster_celery.core_execution_loop import core_celery_execution_loop
    from dagster_celery.defaults import broker_transport_options
    from dagster_celery.executor import CeleryExecutor
    from dagster_celery.make_app import make_app
    from dagster_celery.tasks import create_task
    from kombu.exceptions import OperationalError as BrokerAway
except ImportError as fault:
    message = f"workers need dagster-celery, which is not installed ({fault}): make setup-servers"
    raise BadUsage(message) from fault

QUEUE_OF_THE_REST = "io"
PRIORITY_MAX = 9
RUN_SECONDS_MAX = 7200
"""As run monitoring's `max_runtime_seconds`: what is older belongs to a run that has ended."""
LOOK_SECONDS = 5
ANSWER_SECONDS_MAX = 5

CONFIG: dict[str, Any] = {
    # A step is acknowledged when it begins, not when it ends. Acknowledged late it would be given
    # to another worker behind its run's back: twice when it is merely slow, and again for a run
    # that has been failed meanwhile. A lost step is the run's matter: it fails and is run again
    # from there, with what was done before kept.
    "task_acks_late": False,
    # A worker asks for as many steps as it has free processes. With acknowledgement at the
    # beginning a prefetch of 1 still means one more for each busy process, which waits there for
    # a long step to end while another machine is idle.
    "worker_prefetch_multiplier": 1,
    "worker_disable_prefetch": True,
    "broker_transport_options": {
        **broker_transport_options,
        # Redis gives what nobody acknowledges in this time to another worker; only a worker that
        # died between fetching a step and beginning it leaves such a one. Above any run's length.
        "visibility_timeout": RUN_SECONDS_MAX + 600,
        # kombu keeps a list on Redis for each of these and rounds a priority down to the nearest;
        # its own 0, 3, 6, 9 would make one of what we tell apart.
        "priority_steps": list(range(PRIORITY_MAX + 1)),
        # A connection that a firewall has forgotten is noticed, instead of waited on for ever.
        "socket_timeout": 30,
        "socket_keepalive": True,
    },
    # A step that names no queue would go to one that no worker of ours serves.
    "task_default_queue": QUEUE_OF_THE_REST,
    # The run reads a step's events once, at most a second after it has ended.
    "result_expires": RUN_SECONDS_MAX,
    "redis_socket_keepalive": True,
    "redis_socket_timeout": 30,
    "redis_retry_on_timeout": True,
    # Books stay open in a process between the steps of a run, which is what makes its next step
    # fast; and dagster-celery does not close the instance that it opens for each step. A new
    # process now and then, after about two runs, gives all of that back.
    "worker_max_tasks_per_child": 40,
    # A worker may be started before its broker.
    "broker_connection_retry_on_startup": True,
}


class StepsOnWorkers(CeleryExecutor):
    """dagster-celery's executor for Redis, which does not wait for steps of an ended run."""

    def execute(self, plan_context: Any, execution_plan: Any) -> Generator[DagsterEvent, Any, None]:
        """Every step of the plan on a worker; yields their events."""
        # This is the run's process: whoever looks for lost runs shall know it.
        plan_context.instance.add_run_tags(plan_context.run_id, executed_here(plan_context.run_id))
        return core_celery_execution_loop(plan_context, execution_plan, _submit)


@dataclass
class _Submitted:
    """A step that a worker has, or will have: Celery's result, as long as the run goes on.

    The result of a step whose worker was killed never comes. Whoever notices that (run
    monitoring, a person) fails the run; its process must then end instead of waiting on.
    """

    result: Any
    instance: dg.DagsterInstance
    run_id: str
    looks: int = 0

    def ready(self) -> bool:
        """Whether there is a result; asked once a second.

        Raises:
            DagsterExecutionInterruptedError: the run has been ended from outside.
        """
        if self.result.ready():
            return True
        self.looks += 1
        if self.looks % LOOK_SECONDS == 0:
            run = self.instance.get_run_by_id(self.run_id)
            if run is None or run.is_finished:
                self.result.revoke()
                raise DagsterExecutionInterruptedError
        return False

    def get(self) -> Any:
        """The step's events, or the error with which its worker failed."""
        return self.result.get()

    def revoke(self) -> None:
        """Take the step back, where no worker has begun it."""
        self.result.revoke()


def _submit(app: Celery, context: Any, step: Any, queue: str, priority: int, known: Any) -> Any:
    arguments = ExecuteStepArgs(
        job_origin=context.reconstructable_job.get_python_origin(),
        run_id=context.dagster_run.run_id,
        step_keys_to_execute=[step.key],
        instance_ref=context.instance.get_ref(),
        retry_mode=context.executor.retries.for_inner_plan(),
        known_state=known,
    )
    result = app.send_task(
        TASK_EXECUTE_PLAN_NAME,
        kwargs={
            "execute_step_args_packed": pack_value(arguments),
            "executable_dict": context.reconstructable_job.to_dict(),
        },
        queue=queue,
        routing_key=queue,
        # On Redis the lowest number goes first; in our tags, and in Dagster, the highest.
        priority=PRIORITY_MAX - min(max(priority, 0), PRIORITY_MAX),
        # What nobody took in a run's time is not executed any more, whoever finds it later.
        expires=RUN_SECONDS_MAX,
    )
    return _Submitted(result, context.instance, context.dagster_run.run_id)


def executor_of(broker_url: str) -> dg.ExecutorDefinition:
    """The executor of a code location; nothing of it is configured in a run.

    Configured in dagster-celery's own way, a run whose configuration is not nested exactly as it
    wants it goes to AMQP on localhost without a word, and an address with a password is stored
    with each run.
    """

    @dg.executor(name="celery", requirements=dg.multiple_process_executor_requirements())
    def celery(_context: dg.InitExecutorContext) -> StepsOnWorkers:
        return _executor_on(broker_url)

    return celery


def _executor_on(url: str) -> StepsOnWorkers:
    return StepsOnWorkers(
        retries=RetryMode.ENABLED, broker=url, backend=url, config_source=dict(CONFIG)
    )


def start(broker_url: str, queues: Sequence[str], name: str, concurrency: int | None) -> int:
    """Be a worker until a signal ends it: TERM after its steps, QUIT at once.

    Args:
        broker_url: the Redis that the executor gives steps to.
        queues: whose steps it takes.
        name: what it is called in a run's events; unique on its machine; a number by default.
        concurrency: steps at a time; as many as there are cores by default.

    Returns:
        The exit code.

    Raises:
        BrokerUnavailable: no Redis answers there.
    """
    app = make_app(_executor_on(broker_url).app_args())
    create_task(app)
    try:
        with app.connection_for_read() as connection:
            connection.ensure_connection(max_retries=1, timeout=ANSWER_SECONDS_MAX)
    except (BrokerAway, BackendAway, OSError) as fault:
        raise BrokerUnavailable(
            f"no Redis answers at {app.connection_for_read().as_uri()} ({fault}); "
            "start it, or set AUDIT_BROKER_URL"
        ) from fault
    arguments = ["worker", "--hostname", f"{name or f'audit-{os.getpid()}'}@%h"]
    arguments += ["--queues", ",".join(queues), "--loglevel", "INFO"]
    # What workers tell each other by these two, nobody here asks for.
    arguments += ["--without-gossip", "--without-mingle"]
    if concurrency:
        arguments += ["--concurrency", str(concurrency)]
    return app.start(arguments) or 0
