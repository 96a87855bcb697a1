"""Scores the charges of any extract: `audit-pipeline score FILE --out FILE`.

All charges of the extract know each other: each is compared with the others, before and after it.
What the audit scores day by day knows earlier days only; the SQL is the same.
"""

import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import duckdb

from audit_pipeline.adapters.extracts import CHARGES, Extract, read_extract
from audit_pipeline.adapters.results import export, prepare
from audit_pipeline.adapters.warehouse import quoted
from audit_pipeline.agents.anomaly_detection import scoring
from audit_pipeline.agents.anomaly_detection.benford import Benford, counts_sql, judge, parts_sql
from audit_pipeline.agents.anomaly_detection.scoring.documents import FIELDS
from audit_pipeline.agents.anomaly_detection.scoring.hits import FINDINGS
from audit_pipeline.agents.anomaly_detection.scoring.recurring import PATTERNS

MEMORY_LIMIT = "4GB"
LIMIT = 2_500
"""Of an approval, where none is said: the threshold of a purchase card in many policies."""
REASONS_FROM = 20.0
"""Score from which reasons are told, which one charge in ten reaches; below, nothing stands out."""
_WRITTEN = (
    *("read_lines", "rejected", "signals", "counted", "scored"),
    *("hits", "hit_bits", "document_hits", "recurring_hits", "reasons"),
)
"""The tables that the result is made of; the others' memory is needed to write it."""
_SAID = {"signals": "scoring", "counted": "scoring", "hits_duplicate": "looking for patterns"}


@dataclass(frozen=True)
class Wish:
    """What was asked for.

    Attributes:
        mapping: field → columns.
        limit: up to which nobody has to approve a charge, in units of money.
        signals: file for every signal's bits before calibration, or None.
    """

    file: Path
    out: Path
    mapping: Mapping[str, Sequence[str]] = field(default_factory=dict[str, Sequence[str]])
    limit: float = LIMIT
    signals: Path | None = None


@dataclass
class Scored:
    """What became of the charges.

    Attributes:
        rows: scored; rejected: put aside.
        above: how many score above each of 50, 70 and 90.
        patterns: pattern → charges that show it, habits left out.
        benford: what the first digits of all amounts say.
        top: the highest scores, as rows of the output.
    """

    rows: int = 0
    rejected: int = 0
    above: dict[int, int] = field(default_factory=dict[int, int])
    patterns: dict[str, int] = field(default_factory=dict[str, int])
    benford: Benford = field(default_factory=Benford)
    top: list[dict[str, Any]] = field(default_factory=list[dict[str, Any]])
    seconds: dict[str, float] = field(default_factory=dict[str, float])

    def as_json(self) -> dict[str, object]:
        """All of it but the highest scores, which stand in the result."""
        return {
            "rows": self.rows,
            "rejected": self.rejected,
            "above": {str(score): found for score, found in self.above.items()},
            "patterns": self.patterns,
            "benford": self.benford.as_json(),
            "seconds": {name: round(value, 3) for name, value in self.seconds.items()},
        }


def score(wish: Wish, progress: Callable[[str], None]) -> Scored:
    """Read the file, score its charges, write the result.

    Raises:
        BadUsage: the file cannot be read or written, or a column is missing.
    """
    with tempfile.TemporaryDirectory(prefix="audit-pipeline-score-") as place:
        stage = Path(place)
        with duckdb.connect() as connection:
            run = _Run(wish, connection, stage, progress)
            for name, step in (("read", run.read), ("score", run.score), ("write", run.write)):
                began = time.monotonic()
                step()
                run.outcome.seconds[name] = time.monotonic() - began
    return run.outcome


class _Run:
    def __init__(
        self,
        wish: Wish,
        connection: duckdb.DuckDBPyConnection,
        stage: Path,
        progress: Callable[[str], None],
    ) -> None:
        self.wish, self.outcome = wish, Scored()
        self._made: list[str] = []
        self._connection, self._stage, self._progress = connection, stage, progress
        self._limit_cents = round(100 * wish.limit)
        self._documents: list[str] = []
        self._named: dict[str, Sequence[str]] = {}
        prepare(connection, MEMORY_LIMIT, stage)
        # The joins stand in the order that suits them; the planner's took twenty times as long.
        self._do("SET disabled_optimizers = 'join_order,build_side_probe_side'")
        self._do("CREATE SCHEMA audit")

    def read(self) -> None:
        """`audit.timeline`, with numbers for names, and what the numbers stand for."""
        self._progress(f"reading {self.wish.file.name}")
        extract = read_extract(CHARGES, "charges", self.wish.file, self.wish.mapping, self._stage)
        self._keep(extract)
        pairs = (
            "SELECT entity, vendor, count(*) AS charges FROM audit.lines GROUP BY entity, vendor"
        )
        vendors = (
            "SELECT vendor, min(CAST(made_at AS DATE)) AS first_on FROM audit.lines GROUP BY vendor"
        )
        self._make(
            "timeline",
            "SELECT line.id, line.entity, line.vendor, line.category, line.cents, line.made_at,"
            f" {scoring.timeline_columns('line.cents', 'line.made_at')},"
            " CASE WHEN pair.charges = 1 THEN 1 ELSE 0 END AS novel,"
            " vendor.first_on AS vendor_first_on"
            " FROM audit.lines AS line"
            f" JOIN ({pairs}) AS pair"
            " ON pair.entity = line.entity AND pair.vendor = line.vendor"
            f" JOIN ({vendors}) AS vendor ON vendor.vendor = line.vendor",
        )
        self._see("known_charges", "SELECT *, 1 AS known FROM audit.timeline")
        self._see("scored_charges", "SELECT *, 1 AS own FROM audit.timeline")
        self.outcome.rows = self._count("SELECT count(*) FROM audit.lines")
        self.outcome.rejected = self._count("SELECT count(*) FROM audit.rejected")

    def _keep(self, extract: Extract) -> None:
        def joined(name: str) -> str:
            columns = [f'"{column}"' for column in extract.columns[name]]
            if len(columns) == 1:
                return f"coalesce({columns[0]}, '')"
            return f"concat_ws(' ', {', '.join(columns)})" if columns else "''"

        self._documents = [name for name in FIELDS if extract.columns[name]]
        documents = "".join(f", {joined(name)} AS {name}" for name in self._documents)
        amount, made_at = (f'"{extract.columns[name][0]}"' for name in ("amount", "time"))
        source = f"read_parquet({quoted(str(extract.typed))})"
        complete = f"{made_at} IS NOT NULL AND {amount} IS NOT NULL"
        self._make(
            "read_lines",
            f"SELECT CAST(row_number AS INTEGER) AS id, {joined('id')} AS name,"
            f" {joined('entity')} AS entity, {joined('vendor')} AS vendor,"
            f" {joined('category')} AS category,"
            f" CAST(CAST({amount} AS DECIMAL(22, 2)) * 100 AS BIGINT) AS cents,"
            f" CAST({made_at} AS TIMESTAMP) AS made_at{documents} FROM {source} WHERE {complete}",
        )
        self._make(
            "rejected",
            f"SELECT {joined('id')} AS id, 'no time or no amount' AS reason FROM {source}"
            f" WHERE NOT ({complete}) UNION ALL SELECT coalesce(row_id, ''),"
            " concat(field, ': ', reason, ' (line ', row_number, ')')"
            f" FROM read_parquet({quoted(str(extract.rejected))})",
        )
        for key in ("entity", "vendor", "category"):
            self._make(
                f"{key}_names",
                f"SELECT CAST(row_number() OVER (ORDER BY name) AS INTEGER) AS {key}, name"
                f" FROM (SELECT DISTINCT {key} AS name FROM audit.read_lines) AS names",
            )
        self._make(
            "lines",
            "SELECT line.id, entity.entity, vendor.vendor, category.category, line.cents,"
            " line.made_at FROM audit.read_lines AS line"
            " JOIN audit.entity_names AS entity ON entity.name = line.entity"
            " JOIN audit.vendor_names AS vendor ON vendor.name = line.vendor"
            " JOIN audit.category_names AS category ON category.name = line.category",
        )

    def score(self) -> None:
        """`audit.scored`, `audit.counted` and `audit.reasons`; Benford's law of all amounts."""
        self._progress("counting what is usual")
        self.outcome.benford = self._benford()
        sight = scoring.Sight(ahead=True)
        for name, sql in (
            *scoring.of_timeline(sight, self._limit_cents, scoring.ASPECTS),
            *scoring.of_history(sight, scoring.ASPECTS),
            *scoring.scores(sight, scoring.ASPECTS),
        ):
            if name in _SAID:
                self._progress(_SAID[name])
            if name == "known_bursts":
                self._see(name, sql)
            else:
                self._make(name, sql)
            if name == "signals":
                self._see("known_signals", "SELECT * FROM audit.signals")
        if not self.wish.signals:
            self._drop("signals")
        self._look_at_series()
        self._look_at_documents()
        self._progress("telling why")
        self._make("reported", f"SELECT id FROM audit.scored WHERE score >= {REASONS_FROM}")
        for name, sql in scoring.reasons(sight, self._limit_cents, scoring.ASPECTS):
            self._make(name, sql)
        self._drop(*[name for name in self._made if name not in _WRITTEN])

    def _look_at_series(self) -> None:
        self._progress("looking at recurring payments")
        for name, sql in scoring.RECURRING:
            self._make(name, sql)
        self._named["recurring_hits"] = PATTERNS

    def _look_at_documents(self) -> None:
        if not self._documents:
            return
        self._progress("comparing documents")
        self._see(
            "documents",
            "SELECT line.id, line.entity, line.vendor, read.vendor AS vendor_name, line.cents,"
            f" CAST(line.made_at AS DATE) AS day, {', '.join(self._documents)}"
            " FROM audit.lines AS line JOIN audit.read_lines AS read ON read.id = line.id",
        )
        for name, sql in scoring.documents(self._documents):
            self._make(name, sql)
        self._named["document_hits"] = [one for known in self._documents for one in FIELDS[known]]

    def _benford(self) -> Benford:
        def named(key: str) -> str:
            return (
                "SELECT names.name, found.digits, found.amounts"
                f" FROM ({parts_sql('audit.lines', key)}) AS found"
                f" JOIN audit.{key}_names AS names ON names.{key} = found.{key}"
                f" ORDER BY sum(found.amounts) OVER (PARTITION BY found.{key}) DESC, found.{key}"
            )

        return judge(
            dict(self._do(counts_sql("audit.lines"))),
            {key: self._do(named(key)) for key in ("vendor", "entity")},
        )

    def write(self) -> None:
        """The result, and the signals where they are wanted.

        Raises:
            BadUsage: a file cannot be written.
        """
        self._progress("writing")
        rules, habits = (
            ", ".join(
                f"CASE WHEN hits.{name} = 1 AND bits.{name} {which} {least} THEN '{name}' END"
                for name, least in FINDINGS.items()
            )
            for which in (">=", "<")
        )
        found = ""
        for name in self._named:
            found += f" LEFT JOIN audit.{name} AS {name} ON {name}.id = line.id"
            rules, habits = f"{rules}, {name}.rules", f"{habits}, {name}.habits"
        # Most are nothing, which needs no rounding.
        parts = ", ".join(
            f"CASE WHEN counted.{name} = 0 THEN 0 ELSE round(counted.{name}, 3) END AS {name}_bits"
            for name in scoring.SIGNALS
        )
        self._see(
            "result",
            "SELECT line.name AS id, scored.score, round(scored.bits, 3) AS bits,"
            f" concat_ws(', ', {rules}) AS rules, concat_ws(', ', {habits}) AS habits,"
            " coalesce(reasons.reasons, '') AS reasons,"
            f" CAST(scored.companions AS INTEGER) AS companions, {parts}, line.id AS place"
            # The widest stands first: the others are held in memory to be looked up.
            " FROM audit.counted AS counted JOIN audit.scored AS scored ON scored.id = counted.id"
            " JOIN audit.read_lines AS line ON line.id = counted.id"
            " LEFT JOIN audit.hits AS hits ON hits.id = line.id"
            " LEFT JOIN audit.hit_bits AS bits ON bits.id = line.id"
            f" LEFT JOIN audit.reasons AS reasons ON reasons.id = line.id{found}"
            # What was set aside stands at the end, with why.
            " UNION ALL BY NAME SELECT id, '' AS rules, '' AS habits,"
            " 'set aside: ' || reason AS reasons, NULL AS place FROM audit.rejected",
        )
        export(
            self._connection,
            "SELECT * EXCLUDE (place) FROM audit.result ORDER BY place NULLS LAST, id",
            self.wish.out,
        )
        if self.wish.signals:
            export(
                self._connection,
                f"SELECT line.name AS id, {', '.join(scoring.SIGNALS)} FROM audit.signals AS signal"
                " JOIN audit.read_lines AS line ON line.id = signal.id ORDER BY line.id",
                self.wish.signals,
            )
        self._tell()

    def _tell(self) -> None:
        for least in (50, 70, 90):
            found = f"SELECT count(*) FROM audit.scored WHERE score > {least}"
            self.outcome.above[least] = self._count(found)
        for name, least in FINDINGS.items():
            self.outcome.patterns[name] = self._count(
                f"SELECT count(*) FROM audit.hit_bits WHERE {name} >= {least}"
            )
        for table, patterns in self._named.items():
            for name in patterns:
                self.outcome.patterns[name] = self._count(
                    f"SELECT count(*) FROM audit.{table}"
                    f" WHERE list_contains(string_split(rules, ', '), '{name}')"
                )
        self.outcome.top = (
            self._connection.sql(
                "SELECT id, score, rules, reasons FROM audit.result"
                " JOIN (SELECT id AS place FROM audit.scored ORDER BY score DESC, id LIMIT 5)"
                " AS top USING (place) ORDER BY score DESC, place"
            )
            .to_arrow_table()
            .to_pylist()
        )

    def _make(self, name: str, sql: str) -> None:
        self._do(f"CREATE TABLE audit.{name} AS {sql}")
        self._made.append(name)

    def _drop(self, *names: str) -> None:
        for name in names:
            self._do(f"DROP TABLE audit.{name}")
            self._made.remove(name)

    def _see(self, name: str, sql: str) -> None:
        self._do(f"CREATE VIEW audit.{name} AS {sql}")

    def _count(self, sql: str) -> int:
        return int(self._do(sql)[0][0])

    def _do(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()
