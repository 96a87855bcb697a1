"""What Prometheus reads of the desk: requests, sign-ins, decisions, errors of the database."""

from collections.abc import Iterable

from fastapi import Request
from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import CounterMetricFamily
from prometheus_client.registry import Collector
from sqlalchemy import func, select

from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.schema import DECISIONS
from audit_pipeline.model.errors import StoreUnavailable

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})
BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0)


class Metrics:
    """One application's; two in one process do not meet."""

    def __init__(self, store: Store) -> None:
        self._registry = CollectorRegistry()
        labels = ("method", "route", "status")
        self.requests = Counter("audit_desk_requests", "Requests.", labels, registry=self._registry)
        self.seconds = Histogram(
            "audit_desk_request_seconds",
            "How long they took.",
            labels[:2],
            buckets=BUCKETS,
            registry=self._registry,
        )
        self.sign_ins = Counter(
            "audit_desk_sign_ins", "Tries to sign in.", ("outcome",), registry=self._registry
        )
        self.database_errors = Counter(
            "audit_desk_database_errors",
            "Requests that the store did not serve.",
            registry=self._registry,
        )
        self._registry.register(_Decisions(store))

    def observe(self, method: str, route: str, status: int, seconds: float) -> None:
        """A request is answered.

        Args:
            route: the template of its address, of which there are few.
        """
        known = method if method in METHODS else "other"
        self.requests.labels(known, route, str(status)).inc()
        self.seconds.labels(known, route).observe(seconds)

    def text(self) -> bytes:
        """As Prometheus reads it."""
        return generate_latest(self._registry)


class _Decisions(Collector):
    """Counted in the store when somebody asks: other processes decide too."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def describe(self) -> Iterable[CounterMetricFamily]:
        """Without the store."""
        return [CounterMetricFamily("audit_desk_decisions", "Decisions.", labels=["verdict"])]

    def collect(self) -> Iterable[CounterMetricFamily]:
        """By verdict; nothing while the store is away."""
        asked = select(DECISIONS.c.verdict, func.count()).group_by(DECISIONS.c.verdict)
        try:
            with self._store.reading() as connection:
                found = connection.execute(asked).all()
        except StoreUnavailable:
            return
        family = CounterMetricFamily("audit_desk_decisions", "Decisions.", labels=["verdict"])
        for verdict, count in found:
            family.add_metric([verdict], count)
        yield family


def metrics_of(request: Request) -> Metrics:
    """Those of the application that serves this request."""
    metrics: Metrics = request.app.state.metrics
    return metrics
