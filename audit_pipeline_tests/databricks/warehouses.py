"""Fixtures: a local warehouse of each engine, one process for the whole run of a worker.

They are shared, so a test works in a schema of its own, and clears the faults that it ordered.
"""

import gc
import importlib.util
import shutil
import time
import warnings
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from audit_pipeline_tests.databricks.process import LocalWarehouse

INSTALL = "make setup-databricks"
JAVA = "a Java of 17 or later, e.g. apt-get install openjdk-17-jre-headless"


def missing_for(engine: str) -> str | None:
    """Why this engine cannot run here, and what to do about it; None when it can."""
    packages = {
        "duckdb": ("databricks.sql", "lz4", "cryptography"),
        "spark": ("databricks.sql", "lz4", "cryptography", "pyspark"),
        # the rest is what PySpark needs to speak to a server, its extra `connect`
        "sail": (
            *("databricks.sql", "lz4", "cryptography", "pyspark", "pysail"),
            *("grpc", "grpc_status", "google.rpc", "zstandard"),
        ),
    }
    absent = [name for name in packages[engine] if not _is_there(name)]
    if absent:
        return f"not installed: {', '.join(absent)}; {INSTALL}"
    if engine == "spark" and shutil.which("java") is None:
        return f"no java on this machine; {INSTALL} does not bring it: {JAVA}"
    return None


def _is_there(package: str) -> bool:
    try:
        return importlib.util.find_spec(package) is not None
    except ModuleNotFoundError:  # the parent of a dotted name is missing
        return False


def _running(engine: str) -> Iterator[LocalWarehouse]:
    missing = missing_for(engine)
    if missing is not None:
        pytest.skip(missing)
    with pytest.MonkeyPatch.context() as patched, LocalWarehouse(engine) as warehouse:
        # the connector would go to a proxy that the environment names, also for this machine
        for name in ("NO_PROXY", "no_proxy"):
            patched.setenv(name, "127.0.0.1,localhost")
        yield warehouse


@pytest.fixture(scope="session")
def duckdb_warehouse() -> Iterator[LocalWarehouse]:
    """Databricks SQL translated to DuckDB; starts in a second."""
    yield from _running("duckdb")


@pytest.fixture(scope="session")
def spark_warehouse() -> Iterator[LocalWarehouse]:
    """PySpark: the semantics of reads are the real ones; starts in some ten seconds."""
    yield from _running("spark")


@pytest.fixture(scope="session")
def sail_warehouse() -> Iterator[LocalWarehouse]:
    """Sail: tables are real Delta tables, without Java."""
    yield from _running("sail")


@pytest.fixture
def connector_waits(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """How long the connector would have slept between attempts: it does not."""
    asked: list[float] = []
    quick = SimpleNamespace(sleep=asked.append, time=time.time)
    for module in ("databricks.sql.auth.retry", "urllib3.util.retry"):
        monkeypatch.setattr(f"{module}.time", quick)
    return asked


@pytest.fixture(scope="module")
def broken_sockets() -> Iterator[None]:
    """The connector leaves a socket whose reply broke off to the garbage collector."""
    yield
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()
