"""Queries: every rule's SQL, its parameters, its facts, and that other engines can read it."""

import re
from collections.abc import Iterator
from decimal import Decimal
from importlib import resources
from pathlib import Path
from string import Formatter

import pytest
import sqlglot
from sqlglot import exp

import audit_pipeline
from audit_pipeline.agents.data_quality import gate
from audit_pipeline.agents.reconciliation import linkage_sql, matching, sides
from audit_pipeline.agents.reconciliation.linkage_sql import Window
from audit_pipeline.books import TABLES, Books
from audit_pipeline.model.query import FINDING_COLUMNS, Detector, Query, sql_of
from audit_pipeline_tests.books_of import AGENTS, books_of, day, packaged_rules

RULES = packaged_rules()
DETECTORS = {d.rule_id: d for agent in AGENTS.values() for d in agent.DETECTORS}
AGENTS_FOLDER = Path(str(resources.files(audit_pipeline))) / "agents"
SQL_FILES = sorted(AGENTS_FOLDER.rglob("*.sql"))
PARAMETER = re.compile(r"\$(\w+)")
WITHOUT_SQL = {"DQ-04", "CX-04", "ES-00", "ES-01", "ES-02", "ES-03", "ES-04"}
"""Freshness is a check, documents are searched, escalation is Python."""

NAMED_BY_BOOKS = {
    "from_on",
    "to_on",
    "holidays",
    "matures_after_days",
    "repeat_bits",
    "rule_version",
    "vendor_points",
    "sample_rows",
}


def code(sql: str) -> str:
    return re.sub(r"--[^\n]*", "", sql)


def test_there_are_rules_to_test() -> None:
    assert len(SQL_FILES) > 20
    assert len(DETECTORS) > 20


# ── rules and their detectors ─────────────────────────────────────────────────────────────────────


def test_every_detector_has_a_rule_and_every_rule_a_detector() -> None:
    """And each is its agent's own."""
    assert set(DETECTORS) | WITHOUT_SQL == {rule_id for rule_id, _ in RULES}
    assert not set(DETECTORS) & WITHOUT_SQL
    for prefix, agent in AGENTS.items():
        assert {d.rule_id[:2] for d in agent.DETECTORS} == {prefix}
        assert len({d.rule_id for d in agent.DETECTORS}) == len(agent.DETECTORS)
        assert {RULES[d.rule_id].agent for d in agent.DETECTORS} == {
            agent.__name__.split(".agents.")[1].split(".")[0]
        }


@pytest.mark.parametrize("rule_id", sorted(DETECTORS))
def test_what_a_rule_says_is_among_its_facts(rule_id: str) -> None:
    """A placeholder that no column fills would stop the escalation."""
    placeholders = {name for _, name, _, _ in Formatter().parse(RULES[rule_id].says) if name}
    assert placeholders
    assert placeholders <= set(DETECTORS[rule_id].facts)


@pytest.mark.parametrize("rule_id", sorted(DETECTORS))
def test_every_parameter_is_known_and_bound(rule_id: str) -> None:
    """The SQL names thresholds of its own rule and the range; no others, and no prefix of one."""
    query = DETECTORS[rule_id].query(RULES[rule_id], day(0), day(9))
    assert set(PARAMETER.findall(code(query.sql))) == set(query.parameters)
    known = {"from_on", "to_on", "matures_after_days", "holidays", *RULES[rule_id].thresholds}
    assert set(query.parameters) <= known
    assert {"from_on", "to_on"} <= set(query.parameters)


@pytest.mark.parametrize("rule_id", sorted(DETECTORS))
def test_a_rule_that_matures_says_so_in_its_sql(rule_id: str) -> None:
    matures = "$matures_after_days" in DETECTORS[rule_id].sql
    assert matures == bool(RULES[rule_id].matures_after_days)


@pytest.fixture(scope="module")
def empty_books() -> Iterator[Books]:
    with books_of({}, day(0), day(9), as_of=day(9)) as books:
        yield books


@pytest.mark.parametrize("rule_id", sorted(DETECTORS))
def test_every_finding_has_the_one_shape(rule_id: str, empty_books: Books) -> None:
    """On empty books the engine accepts the query, with the columns of a finding in order."""
    query = AGENTS[rule_id[:2]].findings(RULES, day(0), day(9))[rule_id]
    assert query == DETECTORS[rule_id].query(RULES[rule_id], day(0), day(9))
    empty_books.need(*(name for name in TABLES if f"audit.{name}" in query.sql))
    table = empty_books.warehouse.query(query)
    assert tuple(table.column_names) == FINDING_COLUMNS
    assert table.num_rows == 0
    assert {str(table.schema.field(n).type) for n in ("measured", "threshold")} == {
        "decimal128(18, 4)"
    }


def test_every_threshold_is_used() -> None:
    """A number that nothing compares with would only seem to be a setting."""
    package = AGENTS_FOLDER.parent
    text = "\n".join(code(path.read_text()) for path in [*package.rglob("*.sql")])
    text += "\n".join(path.read_text() for path in package.rglob("*.py"))
    for rule_id, rule in RULES:
        for name in rule.thresholds:
            assert f"${name}" in text or f'"{name}"' in text, f"{rule_id}: {name}"


def test_a_query_quotes_what_it_is_made_of() -> None:
    """The row's key is `transaction_id` unless the fact names another column."""
    detector = Detector(
        "RC-05",
        "SELECT DATE '2026-01-01' AS audit_on, 't''1' AS transaction_id, 1 AS measured,"
        " $difference_min AS threshold, NULL AS vendor, 'k' AS other",
        {"vendor": "gold.x.vendor", "other": "gold.y.other@other"},
    )
    query = detector.query(RULES["RC-05"], day(0), day(1))
    assert dict(query.parameters) == {"difference_min": Decimal("0.01")}
    with books_of({}, day(0), day(1)) as books:
        (row,) = books.warehouse.rows(query)
    assert row["evidence"] == [
        {"name": "vendor", "source": "gold.x.vendor", "row_id": "t'1", "value": ""},
        {"name": "other", "source": "gold.y.other", "row_id": "k", "value": "k"},
    ]
    assert (row["rule_id"], row["score"], row["threshold"]) == ("RC-05", 50, Decimal("0.0100"))


def test_sql_is_found_by_package_and_name() -> None:
    assert sql_of(gate.HERE, "card_lines").startswith("--")
    with pytest.raises(FileNotFoundError):
        sql_of(gate.HERE, "nothing")


# ── the files ─────────────────────────────────────────────────────────────────────────────────────


def all_sql() -> dict[str, str]:
    """Every SQL of the agents by name: the files, and what Python puts together."""
    texts = {path.stem: path.read_text() for path in SQL_FILES}
    window = Window()
    texts["background"] = linkage_sql.background("audit.right_side").sql
    texts["candidates"] = matching.candidates("audit.l", "audit.r", "audit.b", window).sql
    texts["side"] = sides.ordered(sides.CHARGES)
    texts |= {
        f"sides.{name}": value
        for name, value in vars(sides).items()
        if name.isupper() and isinstance(value, str) and value.startswith("SELECT")
    }
    texts |= {
        rule_id: d.query(RULES[rule_id], day(0), day(9)).sql for rule_id, d in DETECTORS.items()
    }
    texts["completeness"] = gate.check_completeness(day(0), day(9)).sql
    texts["freshness"] = gate.check_freshness(day(9)).sql
    return texts


@pytest.mark.parametrize("path", SQL_FILES, ids=lambda path: path.stem)
def test_every_file_says_what_its_rows_are(path: Path) -> None:
    """A comment first, then one statement that reads declared tables only."""
    text = path.read_text()
    assert text.startswith("-- ")
    (tree,) = sqlglot.parse(text, read="duckdb")
    assert tree is not None
    own = {cte.alias for cte in tree.find_all(exp.CTE)}
    for table in tree.find_all(exp.Table):
        assert table.name in own or table.db in ("gold", "audit"), table.sql()


@pytest.mark.parametrize("path", SQL_FILES, ids=lambda path: path.stem)
def test_every_parameter_of_a_file_is_a_threshold_or_the_range(path: Path) -> None:
    thresholds = {name for _, rule in RULES for name in rule.thresholds}
    assert set(PARAMETER.findall(code(path.read_text()))) <= thresholds | NAMED_BY_BOOKS


def test_the_books_bind_what_their_queries_name(empty_books: Books) -> None:
    """All tables can be made on empty books; an unknown or unbound parameter would fail."""
    empty_books.need(*TABLES)
    for name in TABLES:
        assert empty_books.warehouse.value(Query(f'SELECT count(*) FROM audit."{name}"')) == 0
