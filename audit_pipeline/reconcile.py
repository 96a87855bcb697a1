"""Reconciles any two extracts: `audit-pipeline reconcile --left FILE --right FILE --out FILE`.

Lines are put in an order of their content first, so that the order of the files decides nothing.
One-to-one matches come from `linkage`, what is left over is grouped by `grouping`. Many lines are
taken in blocks of days (`blocks`), the left lines without a partner carried over.
"""

import json
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import duckdb
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from audit_pipeline.adapters.extracts import PAYMENTS, read_extract
from audit_pipeline.adapters.results import prepare
from audit_pipeline.adapters.warehouse import quoted
from audit_pipeline.agents.reconciliation import linkage
from audit_pipeline.agents.reconciliation.grouping import Group, Line, group
from audit_pipeline.agents.reconciliation.linkage_sql import Window
from audit_pipeline.ahead import ahead
from audit_pipeline.blocks import Block, blocks
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.reconcile_result import ACCEPTED, REVIEW, TERMS, Reconciled, Result

MEMORY_LIMIT = "600MB"
GROUPED_MAX = 100_000
"""Lines of a side left over that are grouped: three quarters of a minute and 700 MB."""
BACKGROUND_LINES = 50_000
TEXT_CHARS = 200
FIRST_ON = "DATE '2000-01-01'"


@dataclass(frozen=True)
class Wish:
    """What was asked for.

    Attributes:
        mapping: `left` or `right` → field → columns.
        one_to_one: no groups.
        model: file of a saved model, whose window holds, or None to learn.
        save_model: file to write the learned model to, or None.
    """

    left: Path
    right: Path
    out: Path
    mapping: Mapping[str, Mapping[str, Sequence[str]]] = field(default_factory=dict)
    window: Window = field(default_factory=Window)
    one_to_one: bool = False
    model: Path | None = None
    save_model: Path | None = None


def reconcile(wish: Wish, progress: Callable[[str], None]) -> Reconciled:
    """Read both files, match, write the result.

    Raises:
        BadUsage: a file cannot be read or written, a column is missing, or the model is of no use.
    """
    saved = _loaded(wish.model) if wish.model else None
    with tempfile.TemporaryDirectory(prefix="audit-pipeline-reconcile-") as place:
        stage = Path(place)
        with duckdb.connect(stage / "work.duckdb") as connection:
            run = _Run(wish, connection, stage, progress, saved)
            result = Result(connection, wish.out)
            for name, step in (
                ("read", run.read),
                ("match", run.match),
                ("group", run.group),
                ("write", result.write),
            ):
                if name == "group" and wish.one_to_one:
                    continue
                began = time.monotonic()
                step()
                run.outcome.seconds[name] = time.monotonic() - began
            result.tell(run.outcome)
    return run.outcome


class _Run:
    def __init__(
        self,
        wish: Wish,
        connection: duckdb.DuckDBPyConnection,
        stage: Path,
        progress: Callable[[str], None],
        saved: "tuple[linkage.Model, pa.Table] | None",
    ) -> None:
        self.wish = wish
        self.outcome = Reconciled()
        self._connection = connection
        self._stage = stage
        self._progress = progress
        self._model = saved[0] if saved else linkage.Model.unlearned(wish.window)
        self._window = self._model.window
        self._learn = saved is None
        prepare(connection, MEMORY_LIMIT, stage)
        if saved:
            connection.register("saved", saved[1])
            self._do("CREATE TABLE background AS SELECT * FROM saved")
            connection.unregister("saved")

    # ── in ──────────────────────────────────────────────────────────────────────────────────────
    def read(self) -> None:
        """`left_lines` and `right_lines`: n, id, day, cents, text, said, reference."""
        files = {"left": self.wish.left, "right": self.wish.right}
        with ThreadPoolExecutor(len(files)) as threads:
            for path in files.values():
                self._progress(f"reading {path.name}")
            for kept in [threads.submit(self._keep, *file) for file in files.items()]:
                kept.result()
        for side in files:
            self.outcome.lines[side] = self._count(f"{side}_lines")
            self.outcome.rejected[side] = self._count(f"{side}_rejected")
        self.outcome.flipped = self._opposite_signs()
        if self.outcome.flipped:
            self._do("UPDATE right_lines SET cents = -cents")

    def _keep(self, side: str, path: Path) -> None:
        mapping = self.wish.mapping.get(side, {})
        extract = read_extract(PAYMENTS, side, path, mapping, self._stage, f"{side}.")
        connection = self._connection.cursor()

        def joined(field: str) -> str:
            names = ", ".join(f'"{name}"' for name in extract.columns[field])
            return f"concat_ws(' ', {names})" if names else "''"

        identifier, dated, amount = (
            f'"{extract.columns[name][0]}"' for name in ("id", "date", "amount")
        )
        source = f"read_parquet({quoted(str(extract.typed))})"
        complete = f"{dated} IS NOT NULL AND {amount} IS NOT NULL"
        connection.execute(
            f"CREATE TABLE {side}_lines AS SELECT"
            " CAST(row_number() OVER (ORDER BY day, cents, text, id, row_number) - 1 AS INTEGER)"
            " AS n, id, day, cents, text, said, reference FROM (SELECT row_number,"
            f" coalesce({identifier}, '') AS id,"
            f" CAST(CAST({dated} AS DATE) - {FIRST_ON} AS INTEGER) AS day,"
            f" CAST(CAST({amount} AS DECIMAL(22, 2)) * 100 AS BIGINT) AS cents,"
            f" {_normal(joined('text'), joined('reference'))} AS text,"
            f" left({joined('text')}, {TEXT_CHARS}) AS said,"
            f" left({joined('reference')}, {TEXT_CHARS}) AS reference"
            f" FROM {source} WHERE {complete})"
        ).fetchall()
        connection.execute(
            f"CREATE TABLE {side}_rejected AS"
            f" SELECT coalesce({identifier}, '') AS id, 'no date or no amount' AS reason"
            f" FROM {source} WHERE NOT ({complete}) UNION ALL SELECT coalesce(row_id, ''),"
            " concat(field, ': ', reason, ' (line ', row_number, ')')"
            f" FROM read_parquet({quoted(str(extract.rejected))})"
        ).fetchall()

    def _opposite_signs(self) -> bool:
        """Whether the right side's amounts agree with the left's when their sign is turned."""
        ((same, opposite),) = self._do(
            "SELECT coalesce(sum(found) FILTER (WHERE turn = 1), 0),"
            " coalesce(sum(found) FILTER (WHERE turn = -1), 0) FROM ("
            " SELECT turn, least(l.found, r.found) AS found"
            " FROM (SELECT cents, count(*) AS found FROM left_lines GROUP BY cents) AS l"
            " CROSS JOIN (VALUES (1), (-1)) AS turns(turn)"
            " JOIN (SELECT cents, count(*) AS found FROM right_lines GROUP BY cents) AS r"
            " ON r.cents = l.cents * turn)"
        )
        return bool(opposite > same)

    # ── match ───────────────────────────────────────────────────────────────────────────────────
    def match(self) -> None:
        """`matched`: the pairs of at least REVIEW, with their terms."""
        terms = ", ".join(f"{term}_term FLOAT" for term in TERMS)
        self._do(
            "CREATE TABLE grouped (kind VARCHAR, left_n INTEGER, right_n INTEGER,"
            " posterior DOUBLE, group_id VARCHAR, reason VARCHAR)"
        )
        self._do(
            "CREATE TABLE matched (left_n INTEGER, right_n INTEGER, posterior DOUBLE,"
            f" score FLOAT, {terms}, rivals INTEGER)"
        )
        if not (self.outcome.lines["left"] and self.outcome.lines["right"]):
            return
        used = np.zeros(self.outcome.lines["left"], np.bool_)
        following = blocks(
            self._connection.cursor(), self._window, background_known=not self._learn
        )
        for block in ahead(following):
            self._progress(f"matching, {block.done} % of the days" if block.done else "matching")
            self._match(block, used)
        if self.wish.save_model:
            self._save(self.wish.save_model)
        self.outcome.model = self._model

    def _match(self, block: Block, used: "np.ndarray[Any, np.dtype[np.bool_]]") -> None:
        """Decide a block; `used` are the left lines that have a partner, added to."""
        pairs, lines = block.open_pairs(used), (float(len(block.left)), float(len(block.right)))
        learn = self._learn and self._model.pairs == 0
        if learn:
            self._model = replace(self._model, likeness_chance=block.texts.alike_by_chance())
        else:
            first = block.left.first
            days = block.left.days[~used[first : first + len(block.left)]]
            reach = linkage.within_reach(days, block.right.days, block.day_shares, self._model)
            lines = reach, lines[1]
        pairs = linkage.with_likeness(pairs, self._model.likeness_chance, block.texts)
        found = linkage.link(pairs, lines, self._model, learn=learn)
        self._model = found.model
        chosen = linkage.taken(found, REVIEW)
        used[pairs.left[chosen]] = True
        table = {
            "left_n": pairs.left[chosen].astype(np.int32),
            "right_n": pairs.right[chosen].astype(np.int32),
            "posterior": found.posterior[chosen],
            "score": found.prior + sum(term[chosen] for term in found.terms.values()),
            "prior_term": np.full(len(chosen), found.prior),
            **{f"{name}_term": found.terms[name][chosen] for name in TERMS[1:]},
            "rivals": found.rivals[chosen],
        }
        self._connection.register("arriving", pa.table(table))
        self._do("INSERT INTO matched BY NAME SELECT * FROM arriving")
        self._connection.unregister("arriving")

    # ── group ───────────────────────────────────────────────────────────────────────────────────
    def group(self) -> None:
        """`grouped`: one row for each line of a batch, an offset or a near amount."""
        self._progress("grouping what is left over")
        self._hold_unsure()
        left, right = (self._left_over(side) for side in ("left", "right"))
        if max(len(left), len(right)) > GROUPED_MAX:
            self._give_back()
            left, right = (self._left_over(side) for side in ("left", "right"))
        if max(len(left), len(right)) > GROUPED_MAX:
            self.outcome.notes.append(
                f"More than {GROUPED_MAX:,} lines of a side were left over: batches and offsets "
                "were not looked for. Reconcile shorter periods, or see whether the files belong "
                "together."
            )
            return
        found = group(
            [line for _, line in left],
            [line for _, line in right],
            background_left=self._sample("left"),
            background_right=self._sample("right"),
        )
        rows = [row for number, one in enumerate(found) for row in _rows(number, one, left, right)]
        columns = ("kind", "left_n", "right_n", "posterior", "group_id", "reason")
        types = (pa.string(), pa.int32(), pa.int32(), pa.float64(), pa.string(), pa.string())
        arrays = {
            name: pa.array([row[i] for row in rows], kind)
            for i, (name, kind) in enumerate(zip(columns, types, strict=True))
        }
        self._connection.register("arriving", pa.table(arrays))
        self._do("INSERT INTO grouped BY NAME SELECT * FROM arriving")
        self._connection.unregister("arriving")
        self._give_back()
        self.outcome.groups = dict(
            self._do("SELECT kind, count(DISTINCT group_id) FROM grouped GROUP BY kind")
        )

    def _hold_unsure(self) -> None:
        """Take back the pairs that a batch, right to the cent, may explain better.

        Those that are not accepted: a batch is an accident once in twenty at most, as an accepted
        pair is. And where most payments are recorded with one amount, so that another one is the
        exception, every pair whose amounts differ.
        """
        model = self.outcome.model
        exact = model is not None and model.amount[0] > 0.5  # noqa: PLR2004  # most
        differs = "l.cents <> r.cents" if exact else "false"
        self._do(
            "CREATE TABLE held AS SELECT matched.*, l.cents <> r.cents AS is_near FROM matched"
            " JOIN left_lines AS l ON l.n = left_n JOIN right_lines AS r ON r.n = right_n"
            f" WHERE posterior < {ACCEPTED} OR {differs}"
        )
        self._do("DELETE FROM matched WHERE left_n IN (SELECT left_n FROM held)")

    def _give_back(self) -> None:
        """The held pairs, but those one of whose lines a batch has explained.

        An offset explains a pair whose amounts differ, and yields to one whose amounts do not.
        """
        for kind, firm in (("batch", "NOT is_near"), ("offset", "true")):
            held, grouped = (
                " OR ".join(
                    f"{n} IN (SELECT {n} FROM {table} WHERE {which} AND {n} IS NOT NULL)"
                    for n in ("left_n", "right_n")
                )
                for table, which in (("held", firm), ("grouped", f"kind = '{kind}'"))
            )
            self._do(f"DELETE FROM held WHERE {grouped}")
            self._do(
                f"DELETE FROM grouped WHERE group_id IN (SELECT group_id FROM grouped WHERE {held})"
            )
        self._do("INSERT INTO matched SELECT * EXCLUDE (is_near) FROM held")
        self._do("DELETE FROM held")

    def _sample(self, side: str) -> list[Line]:
        """Lines of all days, from which is learned what is rare."""
        step = max(1, self.outcome.lines[side] // BACKGROUND_LINES)
        rows = self._do(
            f"SELECT id, day, cents, said, reference FROM {side}_lines WHERE n % {step} = 0"
            " ORDER BY n"
        )
        return [Line(*row) for row in rows]

    def _left_over(self, side: str) -> list[tuple[int, Line]]:
        rows = self._do(
            f"SELECT n, id, day, cents, said, reference FROM {side}_lines"
            f" WHERE cents <> 0 AND n NOT IN (SELECT {side}_n FROM matched) ORDER BY n"
        )
        return [
            (n, Line(identifier, day, cents, said, reference))
            for n, identifier, day, cents, said, reference in rows
        ]

    def _save(self, path: Path) -> None:
        background = self._connection.sql("SELECT * FROM background").to_arrow_table()
        said = json.dumps(self._model.as_json()).encode()
        try:
            pq.write_table(background.replace_schema_metadata({b"linkage_model": said}), path)
        except OSError as error:
            raise BadUsage(f"cannot write {path}: {error.strerror or error}") from error

    # ── small things ────────────────────────────────────────────────────────────────────────────
    def _do(self, sql: str) -> list[tuple[Any, ...]]:
        return self._connection.execute(sql).fetchall()

    def _count(self, table: str) -> int:
        return int(self._do(f"SELECT count(*) FROM {table}")[0][0])


def _rows(
    number: int, one: Group, left: Sequence[tuple[int, Line]], right: Sequence[tuple[int, Line]]
) -> list[tuple[str, int | None, int | None, float, str, str]]:
    """A group as rows: each left line with each right line, or the lines of one side alone."""
    lefts: list[int | None] = [left[i][0] for i in one.left] or [None]
    rights: list[int | None] = [right[i][0] for i in one.right] or [None]
    name = f"{one.kind}-{number + 1}"
    return [(one.kind, a, b, one.confidence, name, one.reason) for a in lefts for b in rights]


def _normal(text: str, reference: str) -> str:
    """SQL: letters and digits in upper case, one space between words; the reference comes last."""
    return (
        f"trim(regexp_replace(upper(left(concat_ws(' ', {text}, {reference}), {TEXT_CHARS})),"
        " '[^\\pL\\pN]+', ' ', 'g'))"
    )


def _loaded(path: Path) -> tuple[linkage.Model, pa.Table]:
    try:
        table = pq.read_table(path)
        said = (table.schema.metadata or {}).get(b"linkage_model")
        if said is None:
            raise BadUsage(f"{path} is no model; make one with --save-model")
        return linkage.Model.from_json(json.loads(said)), table.replace_schema_metadata(None)
    except (OSError, ValueError, pa.ArrowException) as error:
        said_of_it = str(error).splitlines()[0][:160]
        raise BadUsage(f"{path}: no model ({said_of_it}); make one with --save-model") from error
