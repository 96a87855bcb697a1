"""How well, how fast and in how much memory unusual charges are scored, beside other detectors.

    make bench-anomalies
    make bench-anomalies ARGS='--only council --only speed'
    make bench-anomalies ARGS='--only large --rows-large 10000000'

Every measured thing but the few SELECTs of `recurring` is a process of its own, as a user would
start it. The truth of what is scored is read only once the scores are there. Times depend on the
machine and on what else it does; the ratios hardly do. Nothing is asserted: a target that is missed
says so in its line. Progress goes to stderr, the result to stdout.

The anchors: scikit-learn's isolation forest on the features of the specification; the best of it
and of PyOD's detectors on those and more, and on our own signals. Which one is best shows only in
the truth, which nobody has beforehand: that favours them. For phantoms, which look like what the
card does anyway, the anchor is chance; no scorer sees more in a row than there is.
"""

import argparse
import functools
import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from audit_pipeline_tests import bench_recurring
from audit_pipeline_tests.anomaly_sets import KINDS
from audit_pipeline_tests.bench import Usage, measure, table
from audit_pipeline_tests.bench_anchors import DAYS_AND_VENDORS
from audit_pipeline_tests.bench_lines import (
    Line,
    Skipped,
    least,
    machine,
    most,
    skipped,
    table_of,
    told,
)
from audit_pipeline_tests.bench_scores import RULE_OF, TOP_SHARES, Kind, Ranking, Scored

COMMAND = (sys.executable, "-m", "audit_pipeline.cli", "score")
THREADS = 2
LIMITS = {"council": 1_000, "injected": 1_000, "phantoms": 1_000}
"""What a card may pay at once, where it is not what `score` takes unless told otherwise."""
SETS = {"injected": 5}
"""Seeds of a work, where it is not one."""
FOREST_TIMES = {"card-fraud": 3.5, "simulated": 3.5, "council": 10, "injected": 10}
RULED = {"decimal_slip": 1.0, "duplicate": 1.0, "near_duplicate": 0.92, "split_below_limit": 1.0}
FLAGGED_MOST = 0.06
SPEED_ROWS, LARGE_ROWS = 1_000_000, 10_000_000
ROWS_A_SECOND, LARGE_MB = 100_000, 6_000
NOT_SCORING = ("read", "write")
"""Steps of `score` that are not its own work."""
WORKS = (*KINDS, "recurring", "speed", "large")


@dataclass(frozen=True)
class Ran:
    """One `audit-pipeline score`: what it took, its rows, and its own seconds by step."""

    used: Usage
    rows: int
    seconds: dict[str, float]

    @property
    def scoring(self) -> float:
        """Seconds without the reading and the writing."""
        return sum(took for step, took in self.seconds.items() if step not in NOT_SCORING)


@dataclass(frozen=True)
class Found:
    """A work's sets, each scored."""

    work: str
    sets: list[Scored]

    def mean(self, of: Callable[[Scored], float]) -> float:
        """Of the sets."""
        return statistics.mean(map(of, self.sets))

    def ranking(self, detector: str, features: str) -> Ranking:
        """Of one detector, the mean of the sets."""
        own = [
            one
            for scored in self.sets
            for one in scored.rankings
            if (one.detector, one.features) == (detector, features)
        ]
        ap = statistics.mean(one.ap for one in own)
        return Ranking(detector, features, ap, statistics.mean(one.at_k for one in own))

    def rankings(self) -> list[Ranking]:
        """Ours, and each rival's."""
        return [self.ranking(one.detector, one.features) for one in self.sets[0].rankings]

    def best(self, *features: str) -> Ranking | None:
        """Of the rivals that saw one of these; None where there are none."""
        rivals = [one for one in self.rankings()[1:] if one.features in features]
        return max(rivals, key=lambda one: one.ap, default=None)

    def kinds(self) -> list[Kind]:
        """Each, of all sets together."""
        kinds: dict[str, Kind] = {}
        for kind in (kind for scored in self.sets for kind in scored.kinds):
            kinds[kind.name] = kinds[kind.name] + kind if kind.name in kinds else kind
        return list(kinds.values())


# ── the works ───────────────────────────────────────────────────────────────────────────────────


class Bench:
    """What is measured, in a temporary folder."""

    def __init__(self, place: Path, seed: int, pyod_python: str, rows_large: int) -> None:
        self.place, self.seed = place, seed
        self.pyod_python, self.rows_large = pyod_python, rows_large
        self.found: list[Found] = []
        self.works: dict[str, Callable[[], Iterable[Line]]] = {
            **{work: functools.partial(self.ranked, work) for work in KINDS},
            "recurring": lambda: bench_recurring.works(self.seed),
            "speed": self.speed,
            "large": self.large,
        }

    def ranked(self, work: str) -> Iterable[Line]:
        """One kind of set: the order of its rows beside that of others, and its rules."""
        needs = KINDS[work].needs
        if needs and not needs.exists():
            raise Skipped(f"no {needs.relative_to(needs.parents[3])} beside the project")
        seeds = range(self.seed, self.seed + SETS.get(work, 1))
        found = Found(work, [self._scored(work, seed) for seed in seeds])
        self.found.append(found)
        yield from precisions(found)
        if work == "phantoms":
            return
        yield from rules(found)

    def speed(self) -> Iterable[Line]:
        """A million rows, and on the same the forest and the least that DuckDB could do."""
        folder = self._tiled(SPEED_ROWS)
        work = f"speed, {SPEED_ROWS:,} rows"
        ran = self._ran(folder)
        forest = self._forest(folder)
        forest_told = f"{forest['rows'] / forest['score']:,.0f} forest, without reasons"
        _say(f"{folder.name}: DuckDB alone")
        scan = self._measure(
            [sys.executable, "-c", DAYS_AND_VENDORS, str(_extract(folder)), str(THREADS)]
        )
        yield from self._speeds(work, ran, forest_told)
        yield told(work, "peak MB", f"{ran.used.peak:,.0f}", f"{scan.peak:,.0f} DuckDB's scan")
        yield told(
            work,
            "seconds, whole process",
            f"{ran.used.wall:.1f}, × {ran.used.wall / scan.wall:.0f}",
            f"{scan.wall:.2f} DuckDB's scan",
        )

    def large(self) -> Iterable[Line]:
        """More rows than a forest is given."""
        if not self.rows_large:
            raise Skipped(f"takes minutes: --rows-large {LARGE_ROWS}")
        work = f"large, {self.rows_large:,} rows"
        ran = self._ran(self._tiled(self.rows_large))
        yield from self._speeds(work, ran, "")
        yield most(work, "peak MB", ran.used.peak, LARGE_MB, digits=0)

    def _speeds(self, work: str, ran: Ran, anchor: str) -> Iterable[Line]:
        whole, scoring = ran.rows / ran.used.wall, ran.rows / max(ran.scoring, 1e-3)
        yield least(work, "rows a second, whole process", whole, ROWS_A_SECOND, digits=0)
        yield least(work, "rows a second, scoring", scoring, ROWS_A_SECOND, anchor, 0)
        steps = ", ".join(f"{step} {seconds:.1f}" for step, seconds in ran.seconds.items())
        yield told(work, "seconds", steps)

    # ── processes ───────────────────────────────────────────────────────────────────────────────

    def _scored(self, work: str, seed: int) -> Scored:
        folder = self.place / f"{work}-{seed}"
        _say(f"{folder.name}: making the charges")
        module = [sys.executable, "-m", "audit_pipeline_tests.anomaly_sets"]
        self._measure([*module, work, str(folder), "--seed", str(seed)])
        limit = ["--limit", str(LIMITS[work])] if work in LIMITS else []
        self._ran(folder, "--signals", str(folder / "signals.parquet"), *limit)
        _say(f"{folder.name}: the rivals")
        script, rivals = Path(__file__).with_name("bench_rivals.py"), folder / "rivals.parquet"
        command = [self.pyod_python, str(script), "score", str(folder), str(rivals)]
        self._measure([*command, "--seed", str(seed)])
        module = [sys.executable, "-m", "audit_pipeline_tests.bench_scores"]
        self._measure([*module, str(folder), str(rivals)])
        return Scored.from_json(self._last_said())

    def _tiled(self, rows: int) -> Path:
        folder = self.place / f"tiled-{rows}"
        _say(f"{folder.name}: making the charges")
        module = [sys.executable, "-m", "audit_pipeline_tests.anomaly_sets", "tiled"]
        self._measure([*module, str(folder), "--rows", str(rows), "--seed", str(self.seed)])
        return folder

    def _ran(self, folder: Path, *options: str) -> Ran:
        _say(f"{folder.name}: scoring")
        summary = folder / "summary.json"
        files = {"out": folder / "scored.parquet", "json": summary}
        named = [word for name, path in files.items() for word in (f"--{name}", str(path))]
        used = self._measure([*COMMAND, str(_extract(folder)), *named, *options])
        _say(f"  {used.wall:.1f} s, {used.peak:,.0f} MB")
        said = json.loads(summary.read_text())
        return Ran(used, said["rows"], said["seconds"])

    def _forest(self, folder: Path) -> dict[str, Any]:
        _say(f"{folder.name}: the forest")
        script = Path(__file__).with_name("bench_rivals.py")
        self._measure([sys.executable, str(script), "speed", str(folder)])
        return json.loads(self._last_said())

    def has_pyod(self) -> bool:
        """Whether the interpreter for the rivals does."""
        command = [self.pyod_python, "-c", "import pyod, sklearn, duckdb"]
        try:
            return not subprocess.run(command, check=False, capture_output=True).returncode
        except OSError:
            return False

    def _measure(self, command: Sequence[str]) -> Usage:
        return measure(command, self.place / "said", THREADS)

    def _last_said(self) -> str:
        return (self.place / "said").read_text().splitlines()[-1]


def _extract(folder: Path) -> Path:
    return folder / "extract.parquet"


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


# ── the result ──────────────────────────────────────────────────────────────────────────────────


def precisions(found: Found) -> Iterable[Line]:
    """Average precision, and precision among as many rows as there are unusual ones."""
    work, ours = found.work, found.rankings()[0]
    unusual = found.mean(lambda scored: scored.unusual / scored.rows)
    sets = f"{len(found.sets)} sets, " if len(found.sets) > 1 else ""
    yield told(work, f"{sets}average precision", f"{ours.ap:.4f}", f"{unusual:.4f} chance")
    forest = found.ranking("forest", "spec")
    times, what = FOREST_TIMES.get(work), "times the forest on the specification's features"
    if times:
        yield least(work, what, ours.ap / forest.ap, times, f"{forest.ap:.4f}", 1)
    else:
        yield told(work, what, f"{ours.ap / forest.ap:.1f}", f"{forest.ap:.4f}")
    for features, what in (("extended", "extended features"), ("signals", "our signals")):
        best = found.best(features)
        if best:
            goal = "≥ the best rival" if times and features == "signals" else ""
            met = ours.ap >= best.ap if goal else None
            anchor = f"{best.ap:.4f} {best.detector}"
            yield Line(work, f"beside rivals on {what}", goal, f"{ours.ap:.4f}", anchor, met)
    if len(found.sets) > 1:
        won = sum(
            scored.rankings[0].ap >= max(r.ap for r in scored.rankings) for scored in found.sets
        )
        yield least(
            work, "sets in which ours is at or above every rival", won, len(found.sets), "", 0
        )
    best = max(found.rankings()[1:], key=lambda one: one.at_k)
    anchor = f"{best.at_k:.4f} {best.detector} on {best.features}"
    yield told(work, "precision among the first k", f"{ours.at_k:.4f}", anchor)


def rules(found: Found) -> Iterable[Line]:
    """What the rules name, and what they name of anything."""
    work = found.work
    ruled = [kind for kind in found.kinds() if kind.name in RULE_OF]
    for kind in ruled:
        what = f"{kind.name} named {RULE_OF[kind.name]}"
        seen = f"{kind.seen / kind.rows:.4f} with habits"
        yield least(work, what, kind.named / kind.rows, RULED[kind.name], seen)
    flagged = found.mean(lambda scored: scored.flagged / scored.rows)
    habits = f"{found.mean(lambda scored: scored.habits / scored.rows):.4f} habits only"
    if ruled:
        yield most(work, "share of rows that a rule names", flagged, FLAGGED_MOST, habits, 4)
    else:
        yield told(work, "share of rows that a rule names", f"{flagged:.4f}", habits)


def by_detector(found: Sequence[Found]) -> str:
    """Average precision and precision among the first k of everyone, by what it saw."""
    rows: list[tuple[str, ...]] = []
    for one in found:
        seen = {(each.detector, each.features): each for each in one.rankings()}
        ours, *others = dict.fromkeys(detector for detector, _ in seen)
        said = _pair(seen[ours, ours])
        rows.append((f"{one.work}: {ours}", "", "", said))
        rows += [
            (
                f"{one.work}: {name}",
                *(_pair(seen[name, of]) for of in ("spec", "extended", "signals")),
            )
            for name in others
        ]
    head = ("average precision, precision among the first k", "spec", "extended", "our signals")
    return table(head, rows)


def _pair(ranking: Ranking) -> str:
    return f"{ranking.ap:.4f}, {ranking.at_k:.4f}"


def by_kind(found: Sequence[Found]) -> str:
    """Recall of each kind, by score and by rule."""
    head = (
        "share found",
        "charges",
        *(f"in the top {share:.1%}" for share in TOP_SHARES),
        "by its rule",
        "with habits",
    )
    rows = [
        (
            f"{one.work}: {kind.name}",
            f"{kind.rows:,}",
            *(f"{hits / kind.rows:.2f}" for hits in kind.within),
            *(
                f"{hits / kind.rows:.2f}" if kind.name in RULE_OF else ""
                for hits in (kind.named, kind.seen)
            ),
        )
        for one in found
        for kind in one.kinds()
    ]
    return table(head, rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, then print."""
    asked = _parser().parse_args(arguments)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="audit-pipeline-bench-") as place:
        rows_large = asked.rows_large or (LARGE_ROWS if "large" in (asked.only or ()) else 0)
        bench = Bench(Path(place), asked.seed, asked.pyod_python, rows_large)
        if not bench.has_pyod():
            why = Skipped(f"{asked.pyod_python} has no pyod; --pyod-python names another")
            lines.append(skipped("rivals other than the forest", why))
            bench.pyod_python = sys.executable
        for work, measured in bench.works.items():
            if work not in (asked.only or bench.works):
                continue
            try:
                lines += measured()
            except Skipped as why:
                lines.append(skipped(work, why))
    parts = [machine(asked.seed), table_of(lines)]
    if bench.found:
        parts += [by_kind(bench.found), by_detector(bench.found)]
    print("\n\n".join(parts))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audit_pipeline_tests.bench_anomalies",
        description="Measures scores of charges against known truths and others. Asserts nothing.",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=WORKS,
        metavar="WORK",
        help=f"one of {', '.join(WORKS)}; may be given again (default: all but large)",
    )
    parser.add_argument(
        "--rows-large",
        type=int,
        default=0,
        metavar="N",
        help="rows of the large work, which is else left out",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(default %(default)s)")
    parser.add_argument(
        "--pyod-python",
        default=sys.executable,
        metavar="PATH",
        help="an interpreter that has PyOD (default: this one)",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
