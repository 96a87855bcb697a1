"""Every statement of an audit has the same rows on Spark, said in Databricks SQL, as on DuckDB."""

from collections.abc import Iterator

import pytest

from audit_pipeline.adapters.fixtures import read_fixtures
from audit_pipeline_tests import small_company
from audit_pipeline_tests.databricks import parity, spark


@pytest.fixture(scope="session")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[spark.Spark]:
    with spark.started(tmp_path_factory.mktemp("spark")) as session:
        yield session


def test_the_small_company(engine: spark.Spark, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The audited month, with all statements on which they rest."""
    folder = tmp_path_factory.mktemp("company")
    snapshot = read_fixtures(small_company.make().write(folder / "books"), folder)
    for name, rows in parity.gold_of(snapshot):
        engine.show(name, rows)
    steps = parity.audit(
        snapshot, folder / "derived", small_company.AUDIT_FROM, small_company.LAST_ON
    )
    assert {step.rule_id for step in steps if step.rows.num_rows} >= {"RC-01"}
    assert parity.differences(steps, engine.show, engine.query) == []
