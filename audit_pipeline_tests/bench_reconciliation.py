"""How well, how fast and in how much memory lines are reconciled, beside what others could do.

    make bench-reconciliation
    make bench-reconciliation ARGS='--only transfers --only day'
    make bench-reconciliation ARGS='--rows-large 5000000'

Every measured thing is a process of its own, as a user would start it. The truth is known of all
that is measured, and read only once a result is there. Times depend on the machine and on what else
it does; the ratios hardly do. Nothing is asserted: a target that is missed says so in its line.
Progress goes to stderr, the result to stdout.

The anchors: for transfers and ledgers one SELECT, lines of the same amount, each the nearest in
time of the other; for duplicates the same vendor and amount again within a day; for entries that
are missing no line of their amount within three days; for speed Splink.
"""

import argparse
import csv
import functools
import json
import shutil
import statistics
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from audit_pipeline.settings import load_rules, rules_text
from audit_pipeline_tests import bank_ledger, card_company
from audit_pipeline_tests.bench import Usage, measure, table
from audit_pipeline_tests.bench_anchors import absent, nearest, repeats
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
from audit_pipeline_tests.bench_transfers import ACCEPTED, SOURCE, Score, Scored

THREADS = 2
WITHOUT = 0.1
"""Share of each side that is left out, so that its partners have none."""
SPLINK_ROWS = 1_000_000
LARGE_ROWS = 5_000_000
LEDGER_LINES, LEDGERS = 1_000, 3
COMPANIES = 3
FAULT_RULES = {
    "duplicates": ("duplicate", ("AN-05", "AN-09")),
    "missing-from-statement": ("missing", ("RC-03",)),
    "unsettled": ("unsettled", ("RC-01", "RC-02")),
}
"""Work → the truth's word for it, and the rules of which one must name it."""


@dataclass(frozen=True)
class Ran:
    """One `audit-pipeline reconcile`: what it took, its own seconds by step, and its result."""

    used: Usage
    seconds: dict[str, float]
    result: Path

    @property
    def matching(self) -> float:
        """Seconds without the reading and the writing."""
        return self.seconds.get("match", 0) + self.seconds.get("group", 0)


@dataclass(frozen=True)
class SplinkRan:
    """Splink on the same two sides.

    Attributes:
        used: of its whole process.
        seconds: from the first file to its predictions; peak: megabytes until then.
    """

    used: Usage
    seconds: float
    peak: float
    version: str
    scored: Scored


# ── the works ───────────────────────────────────────────────────────────────────────────────────


class Bench:
    """What is measured, in a temporary folder."""

    def __init__(self, place: Path, seed: int, splink_python: str, rows_large: int) -> None:
        self.place, self.seed = place, seed
        self.splink_python, self.rows_large = splink_python, rows_large
        self.calibration: Scored | None = None
        self.works: dict[str, Callable[[], Iterable[Line]]] = {
            "transfers": self.transfers,
            "transfers-orphans": self.transfers_orphans,
            "day": self.days,
            "bank-ledger": self.bank_ledgers,
            **{work: functools.partial(self.faults, work) for work in FAULT_RULES},
            "splink": self.splink,
            "large": self.large,
        }

    def transfers(self) -> Iterable[Line]:
        """Every line has its partner."""
        folder = self._made("transfers")
        scored = self._score(folder, self._reconciled(folder, "--one-to-one").result)
        yield least("transfers", "pair F1", scored.pairs.f1, 0.999, f"{scored.anchor.f1:.4f}")

    def transfers_orphans(self) -> Iterable[Line]:
        """A tenth of each side is left out."""
        work = "transfers-orphans"
        folder = self._made(work, "--without", str(WITHOUT))
        scored = self._score(folder, self._reconciled(folder, "--one-to-one").result)
        self.calibration = scored
        yield least(work, "pair F1", scored.pairs.f1, 0.995, f"{scored.anchor.f1:.4f}")
        for side, orphans in zip(("left", "right"), scored.orphans, strict=True):
            yield least(work, f"orphan F1, {side}", orphans.f1, 0.97)
        yield least(work, f"precision from {ACCEPTED}", scored.accepted.precision, 0.999)
        yield least(work, f"true pairs from {ACCEPTED}", scored.accepted.recall, 0.95)

    def days(self) -> Iterable[Line]:
        """Single days against what was still open, by a model of the weeks before."""
        folder = self._made("day", "--without", str(WITHOUT), command="days")
        model = folder / "model"
        self._reconciled(folder / "history", "--one-to-one", "--save-model", str(model))
        scores: list[Scored] = []
        seconds: list[float] = []
        for day in sorted(folder.glob("20*")):
            ran = self._reconciled(day, "--one-to-one", "--model", str(model))
            scores.append(self._score(day, ran.result))
            seconds.append(ran.used.wall)
        pooled = sum((one.pairs for one in scores), Score(0, 0, 0))
        anchor = sum((one.anchor for one in scores), Score(0, 0, 0))
        worst = min(one.pairs.f1 for one in scores)
        yield least("day", f"{len(scores)} days, pair F1", pooled.f1, 0.99, f"{anchor.f1:.4f}")
        yield told("day", "the worst of them", f"{worst:.4f}")
        yield told("day", "seconds a day, whole process", f"{statistics.median(seconds):.1f}")

    def bank_ledgers(self) -> Iterable[Line]:
        """An invented ledger against its bank statement: batches, fees, exchange rates."""
        work = "bank-ledger"
        pairs = batches = anchor = Score(0, 0, 0)
        wholes: list[float] = []
        matchings: list[float] = []
        for seed in range(self.seed, self.seed + LEDGERS):
            made = bank_ledger.make(LEDGER_LINES, seed)
            folder = self.place / f"{work}-{seed}"
            folder.mkdir()
            for side, rows in (("left", made.ledger), ("right", made.bank)):
                _write_lines(folder / f"{side}.csv", rows)
            ran = self._reconciled(folder, ending="csv")
            with ran.result.open(newline="") as file:
                result = list(csv.DictReader(file))
            said = {(row["right_id"], row["left_id"]) for row in result}
            said = {pair for pair in said if all(pair)}
            pairs += Score.of(said, made.pairs)
            batches += whole_batches(said, made.batches)
            anchor += Score.of(nearest(made), made.pairs)
            wholes.append(ran.used.wall)
            matchings.append(ran.matching)
        yield least(work, f"{LEDGERS} ledgers, pair F1", pairs.f1, 0.99, f"{anchor.f1:.4f}")
        yield least(work, "batches found whole", batches.recall, 0.98)
        yield told(work, f"seconds a {LEDGER_LINES:,} lines", f"{statistics.median(wholes):.2f}")
        yield told(work, "of these matching", f"{statistics.median(matchings):.2f}")

    def faults(self, work: str) -> Iterable[Line]:
        """What the audit says of companies that pay by card, against the faults put into them."""
        kind, rules = FAULT_RULES[work]
        plain = {"duplicates": repeats, "missing-from-statement": absent}.get(work)
        floor = 100 * load_rules(rules_text(None))["AN-05"].number("amount_min")
        found = anchor = found_large = Score(0, 0, 0)
        for seed in range(self.seed, self.seed + COMPANIES):
            company, said = self._audited(seed)
            true = set(company.truth()[kind])
            ours = set[str]().union(*(said[rule] for rule in rules))
            found += Score.of(ours, true)
            anchor += Score.of(plain(company), true) if plain else Score(0, 0, 0)
            large = {charge.txn_id for charge in company.charges if charge.cents >= floor}
            found_large += Score.of(ours & large, true & large)
        target = 0.95 if work == "unsettled" else 0.98
        what = f"{COMPANIES} companies, F1 of {'/'.join(rules)}"
        yield least(work, what, found.f1, target, f"{anchor.f1:.4f}" if plain else "")
        yield told(work, "precision, recall", f"{found.precision:.4f}, {found.recall:.4f}")
        if work == "duplicates":
            what = f"F1 from the rule's {floor / 100:.2f} on"
            yield least(work, what, found_large.f1, target)

    def splink(self) -> Iterable[Line]:
        """The same two sides by Splink, in the default size and in a million rows."""
        self._has_splink()
        for rows, time_share, memory_share in ((0, 1 / 5, None), (SPLINK_ROWS, 1 / 3, 1 / 4)):
            folder = self._made(f"splink-{rows}", "--without", str(WITHOUT), "--rows", str(rows))
            ran = self._reconciled(folder, "--one-to-one")
            ours = self._score(folder, ran.result)
            theirs = self._splinked(folder)
            work = f"splink {theirs.version}, {ours.lines[0]:,} rows"
            scored = theirs.scored
            yield told(
                work,
                "pair F1",
                f"{ours.pairs.f1:.4f}",
                f"{scored.pairs.f1:.4f}; at its best threshold {scored.best.f1:.4f}",
            )
            yield _ratio(
                work, "seconds, whole process", ran.used.wall, theirs.used.wall, time_share
            )
            yield _ratio(work, "seconds, matching", ran.matching, theirs.seconds, time_share)
            yield _ratio(work, "peak MB", ran.used.peak, theirs.peak, memory_share)
            shutil.rmtree(folder)

    def large(self) -> Iterable[Line]:
        """More lines than are matched at once."""
        if not self.rows_large:
            raise Skipped(f"takes minutes: --rows-large {LARGE_ROWS}")
        rows = self.rows_large
        folder = self._made("large", "--without", str(WITHOUT), "--rows", str(rows))
        ran = self._reconciled(folder, "--one-to-one")
        scored = self._score(folder, ran.result)
        lines = sum(scored.lines)
        work = f"large, {scored.lines[0]:,} × {scored.lines[1]:,}"
        yield told(work, "pair F1", f"{scored.pairs.f1:.4f}", f"{scored.anchor.f1:.4f}")
        yield most(work, "peak MB", ran.used.peak, 1_500, digits=0)
        yield least(work, "lines of both sides a second", lines / ran.used.wall, 25_000, digits=0)
        steps = ", ".join(f"{step} {seconds:.0f}" for step, seconds in ran.seconds.items())
        yield told(work, "seconds", f"{ran.used.wall:.0f}: {steps}")

    # ── processes ───────────────────────────────────────────────────────────────────────────────

    def _made(self, name: str, *options: str, command: str = "make") -> Path:
        """A folder of two sides and their truth."""
        if not SOURCE.is_dir():
            raise Skipped(f"no {SOURCE.relative_to(SOURCE.parents[2])} beside the project")
        _say(f"{name}: making the lines")
        folder = self.place / name
        module = [sys.executable, "-m", "audit_pipeline_tests.bench_transfers"]
        self._measure([*module, command, str(folder), "--seed", str(self.seed), *options])
        return folder

    def _reconciled(self, folder: Path, *options: str, ending: str = "parquet") -> Ran:
        _say(f"{folder.relative_to(self.place)}: reconciling")
        result, summary = folder / f"result.{ending}", folder / "summary.json"
        files = {side: folder / f"{side}.{ending}" for side in ("left", "right")}
        files |= {"out": result, "json": summary}
        named = [word for name, path in files.items() for word in (f"--{name}", str(path))]
        command = [sys.executable, "-m", "audit_pipeline.cli", "reconcile", *named, *options]
        used = self._measure(command)
        _say(f"  {used.wall:.1f} s, {used.peak:,.0f} MB")
        return Ran(used, json.loads(summary.read_text())["seconds"], result)

    def _score(self, folder: Path, result: Path) -> Scored:
        module = [sys.executable, "-m", "audit_pipeline_tests.bench_transfers", "score"]
        self._measure([*module, str(folder), str(result)])
        return Scored.from_json(self._last_said())

    def _has_splink(self) -> None:
        command = [self.splink_python, "-c", "import splink"]
        try:
            done = subprocess.run(command, check=False, capture_output=True)
        except OSError as error:
            raise Skipped(f"{self.splink_python}: {error.strerror}") from error
        if done.returncode:
            raise Skipped(f"{self.splink_python} has no splink; --splink-python names another")

    def _splinked(self, folder: Path) -> SplinkRan:
        _say(f"{folder.name}: Splink")
        script, result = Path(__file__).with_name("bench_splink.py"), folder / "splink.parquet"
        used = self._measure([self.splink_python, str(script), str(folder), str(result)])
        said = json.loads(self._last_said())
        _say(f"  {used.wall:.1f} s, {used.peak:,.0f} MB")
        scored = self._score(folder, result)
        return SplinkRan(used, said["seconds"], said["peak_mb"], said["version"], scored)

    @functools.cache  # noqa: B019 — one Bench lives as long as the process
    def _audited(self, seed: int) -> tuple[card_company.CardCompany, dict[str, set[str]]]:
        """A company, and rule → the ids of the ledger entries that the audit named by it."""
        _say(f"card company {seed}: auditing")
        company = card_company.make(seed)
        folder = self.place / f"company-{seed}"
        company.write(folder)
        data, result = self.place / f"data-{seed}", self.place / f"audit-{seed}.json"
        options = ["--fixtures", folder, "--data", data, "--json", result]
        command = [sys.executable, "-m", "audit_pipeline.cli", "audit", *map(str, options)]
        used = self._measure(command)
        _say(f"  {used.wall:.1f} s, {used.peak:,.0f} MB")
        entries = {company.line_id(charge): charge.txn_id for charge in company.charges}
        said: dict[str, set[str]] = defaultdict(set)
        for flag in json.loads(result.read_text())["flags"]:
            for finding in flag["findings"]:
                named = str(flag["transaction_id"])
                said[finding["rule_id"]].add(entries.get(named, named))
        return company, said

    def _measure(self, command: Sequence[str]) -> Usage:
        return measure(command, self.place / "said", THREADS)

    def _last_said(self) -> str:
        return (self.place / "said").read_text().splitlines()[-1]


# ── small things ────────────────────────────────────────────────────────────────────────────────


def whole_batches(said: set[tuple[str, str]], true: dict[str, set[str]]) -> Score:
    """Batches whose bank line was given exactly their ledger lines."""
    given: dict[str, set[str]] = defaultdict(set)
    for bank, ledger in said:
        given[bank].add(ledger)
    whole = sum(given[bank] == ledgers for bank, ledgers in true.items())
    return Score(whole, sum(len(ledgers) > 1 for ledgers in given.values()), len(true))


def _write_lines(path: Path, rows: Sequence[bank_ledger.Row]) -> None:
    with path.open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow(("id", "date", "description", "amount", "reference"))
        writer.writerows(
            (row.id, row.on, row.description, f"{row.cents / 100:.2f}", row.reference)
            for row in rows
        )


def _ratio(work: str, what: str, ours: float, theirs: float, share: float | None) -> Line:
    target = f"≤ 1/{round(1 / share)} of Splink" if share else ""
    met = ours <= share * theirs if share else None
    of = (
        f"{ours:,.1f}, 1/{theirs / ours:.1f}"
        if theirs >= ours
        else f"{ours:,.1f}, × {ours / theirs:.1f}"
    )
    return Line(work, what, target, of, f"{theirs:,.1f}", met)


def _say(what: str) -> None:
    print(what, file=sys.stderr, flush=True)


# ── the result ──────────────────────────────────────────────────────────────────────────────────


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure, then print."""
    asked = _parser().parse_args(arguments)
    lines: list[Line] = []
    with tempfile.TemporaryDirectory(prefix="audit-pipeline-bench-") as place:
        rows_large = asked.rows_large or (LARGE_ROWS if "large" in (asked.only or ()) else 0)
        bench = Bench(Path(place), asked.seed, asked.splink_python, rows_large)
        for work, measured in bench.works.items():
            if work not in (asked.only or bench.works):
                continue
            try:
                lines += measured()
            except Skipped as why:
                lines.append(skipped(work, why))
    print(_report(lines, bench.calibration, asked.seed))
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m audit_pipeline_tests.bench_reconciliation",
        description="Measures reconciliation against known truths and others. Asserts nothing.",
    )
    names = (
        "transfers",
        "transfers-orphans",
        "day",
        "bank-ledger",
        *FAULT_RULES,
        "splink",
        "large",
    )
    parser.add_argument(
        "--only",
        action="append",
        choices=names,
        metavar="WORK",
        help=f"one of {', '.join(names)}; may be given again (default: all but large)",
    )
    parser.add_argument(
        "--rows-large",
        type=int,
        default=0,
        metavar="N",
        help="rows of each side of the large work, which is else left out",
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="(default %(default)s)")
    parser.add_argument(
        "--splink-python",
        default=sys.executable,
        metavar="PATH",
        help="an interpreter that has Splink (default: this one)",
    )
    return parser


def _report(lines: Sequence[Line], calibration: Scored | None, seed: int) -> str:
    parts = [machine(seed), table_of(lines)]
    if calibration:
        rows = [
            (
                f"{one.at_least:.3f}",
                f"{one.pairs:,}",
                f"{one.posterior:.4f}",
                f"{one.precision:.4f}",
            )
            for one in calibration.calibration
        ]
        head = ("transfers-orphans: posterior from", "pairs", "its mean", "share that is true")
        parts.append(table(head, rows))
    return "\n\n".join(parts)


if __name__ == "__main__":
    sys.exit(main())
