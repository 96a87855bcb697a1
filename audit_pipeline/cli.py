"""The command line: audit, flags, reperform, reconcile, score, rules, schema.

Exit codes: 0 done; 1 the quality gate is closed, or a re-performance differs; 2 bad usage or
input; 3 the audit failed. An expected error is one message that names the remedy, never a
traceback.
"""

import argparse
import datetime as dt
import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from audit_pipeline.model.errors import AuditError, BadUsage, GateClosed

if TYPE_CHECKING:
    from rich.console import Console

    from audit_pipeline.settings import Settings

DONE, CLOSED, BAD_INPUT, FAILED = 0, 1, 2, 3
FLAGS_SHOWN = 10
GARBAGE_EVERY = 100_000
"""Millions of lines pass through as small objects without cycles; looking for garbage among them
every 700 objects, as Python does, takes a twentieth of a long audit."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()
    except GateClosed as closed:
        print(f"audit-pipeline: {closed}", file=sys.stderr)
        return CLOSED
    except AuditError as fault:
        print(f"audit-pipeline: {fault}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        # What is still buffered would fail once more, when Python flushes at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print("audit-pipeline: stopped; run the same command again to go on", file=sys.stderr)
        return FAILED
    return code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="audit-pipeline",
        description="Audits a company's money: reconciles, scores, explains, flags.",
        epilog="exit codes: 0 done; 1 quality gate closed, or a re-performance differs; "
        "2 bad usage or input; 3 the audit failed",
    )
    commands = parser.add_subparsers(metavar="COMMAND", required=True)

    audit = commands.add_parser(
        "audit",
        help="audit a range of days",
        description="Audits the days of a folder of gold files, as one Dagster run, and shows "
        "what it found. Running it again changes nothing that was right.",
    )
    audit.add_argument(
        "--fixtures",
        metavar="DIR",
        help="a folder of <table>.json, .jsonl, .csv or .parquet (default: fixtures/demo)",
    )
    audit.add_argument(
        "--from", dest="from_on", type=_day, metavar="DAY", help="first day, YYYY-MM-DD"
    )
    audit.add_argument(
        "--to", dest="to_on", type=_day, metavar="DAY", help="last day (default: all there are)"
    )
    audit.add_argument(
        "--json", dest="json_file", metavar="FILE", help="write the result; - for stdout"
    )
    audit.add_argument("--rules", metavar="FILE", help="another rules.yaml")
    audit.set_defaults(run=_audit)

    flags = commands.add_parser(
        "flags",
        help="list flags, or show one with its evidence",
        description="Without FLAG_ID: the flags of the last audits, the most severe first.",
    )
    flags.add_argument("flag_id", nargs="?", metavar="FLAG_ID", help="or its first 6 characters")
    flags.add_argument("--severity", choices=["CRITICAL", "WARNING", "INFO"])
    flags.add_argument("--rule", metavar="ID", help="with a finding of this rule, e.g. RC-02")
    flags.add_argument("--population", metavar="NAME", help="of this data only, e.g. demo")
    flags.add_argument("--all", action="store_true", help="decided and superseded ones too")
    flags.add_argument("--limit", type=_count, default=50, metavar="N", help="default 50")
    flags.add_argument("--json", dest="json_file", metavar="FILE", help="write them; - for stdout")
    flags.set_defaults(run=_flags)

    reperform = commands.add_parser(
        "reperform",
        help="run a flag's stored queries again and compare",
        description="Runs the stored query of each finding on the stored inputs, and says same "
        "or different.",
    )
    reperform.add_argument("flag_id", metavar="FLAG_ID", help="or its first 6 characters")
    reperform.add_argument("--sql", action="store_true", help="print the queries too")
    reperform.set_defaults(run=_reperform)

    reconcile = commands.add_parser(
        "reconcile",
        help="match the lines of any two extracts",
        description="Matches the lines of two files (.csv, .parquet, .json, .jsonl) that record "
        "the same payments: one to one by a learned probability, then batches, offsets and near "
        "amounts. Needs no labels and no rules.",
        epilog="OUT has one line a pair, one for each line of a batch, and one for each line "
        "without a partner: kind, status (accepted from 0.95, review from 0.5, unmatched), "
        "left_id, right_id, posterior, and the terms that add up to its score (ln of the odds). "
        "example: audit-pipeline reconcile --left ledger.csv --right bank.csv --out matched.csv "
        "--map left.text=vendor,memo",
    )
    for side in ("left", "right"):
        reconcile.add_argument(f"--{side}", type=Path, required=True, metavar="FILE")
    reconcile.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".csv, .parquet, .json or .jsonl"
    )
    reconcile.add_argument(
        "--map",
        dest="mapping",
        action="append",
        default=[],
        type=_mapped,
        metavar="SIDE.FIELD=COLUMN[,COLUMN]",
        help="which column is the id, date, amount, text or reference, where the name does not "
        "say; may be given again",
    )
    reconcile.add_argument(
        "--one-to-one", action="store_true", help="no batches, offsets or near amounts"
    )
    reconcile.add_argument(
        "--days-before", type=_count, metavar="N", help="right before left, at most (default 5)"
    )
    reconcile.add_argument(
        "--days-after", type=_count, metavar="N", help="right after left, at most (default 31)"
    )
    reconcile.add_argument(
        "--tolerance", type=_share, metavar="SHARE", help="between amounts (default 0.15)"
    )
    reconcile.add_argument(
        "--save-model", type=Path, metavar="FILE", help="keep what was learned, for --model"
    )
    reconcile.add_argument(
        "--model",
        type=Path,
        metavar="FILE",
        help="use what was learned before; only the share of lines with a partner is learned anew, "
        "so a day of two hundred lines is enough",
    )
    reconcile.add_argument(
        "--json", dest="json_file", metavar="FILE", help="write a summary; - for stdout"
    )
    reconcile.set_defaults(run=_reconcile)

    score = commands.add_parser(
        "score",
        help="score the charges of any extract from 0 to 100, with reasons",
        description="Scores the charges of a file (.csv, .parquet, .json, .jsonl) by how "
        "surprising they are, and says why. Needs no labels and no rules.",
        epilog="OUT has one line a charge: id, score (above 70: about one in a thousand), bits, "
        "rules (patterns it shows), habits (patterns that its vendor shows all the time), reasons, "
        "and the bits of every signal, which add up. example: audit-pipeline score charges.csv "
        "--out scored.csv --map entity=card_number --map time=posted_at --limit 1000",
    )
    score.add_argument("file", type=Path, metavar="FILE")
    score.add_argument(
        "--out", type=Path, required=True, metavar="FILE", help=".csv, .parquet, .json or .jsonl"
    )
    score.add_argument(
        "--map",
        dest="mapping",
        action="append",
        default=[],
        type=_mapped_field,
        metavar="FIELD=COLUMN[,COLUMN]",
        help="which column is the id, entity (a card, a person), vendor, category, amount or "
        "time, where the name does not say; may be given again",
    )
    score.add_argument(
        "--limit",
        type=_money,
        metavar="AMOUNT",
        help="up to which nobody has to approve a charge (default 2500)",
    )
    score.add_argument(
        "--signals", type=Path, metavar="FILE", help="write every signal's bits, uncalibrated"
    )
    score.add_argument(
        "--json", dest="json_file", metavar="FILE", help="write a summary; - for stdout"
    )
    score.set_defaults(run=_score)

    rules = commands.add_parser(
        "rules", help="list the rules and their thresholds, or check a rules file"
    )
    rules.add_argument("--rules", metavar="FILE", help="another rules.yaml")
    rules.add_argument("--markdown", action="store_true", help="as the documentation has it")
    rules.set_defaults(run=_rules)

    schema = commands.add_parser("schema", help="print the DDL of the store")
    schema.add_argument(
        "--dialect", choices=["sqlite", "postgresql", "databricks"], default="sqlite"
    )
    schema.set_defaults(run=_schema)

    for command in (audit, flags, reperform):
        command.add_argument(
            "--data",
            metavar="DIR",
            help="where derived tables, flags and trail are kept (default: .audit_data)",
        )
    return parser


def _day(text: str) -> dt.date:
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        message = f"{text!r} is not a day; write it as YYYY-MM-DD"
        raise argparse.ArgumentTypeError(message) from None


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit()):
        message = f"{text!r} is not a whole number of 0 or more"
        raise argparse.ArgumentTypeError(message)
    return int(text)


def _share(text: str) -> float:
    try:
        share = float(text)
    except ValueError:
        share = 0.0
    if not 0 < share < 1:
        message = f"{text!r} is not a share between 0 and 1, such as 0.15"
        raise argparse.ArgumentTypeError(message)
    return share


def _mapped(text: str) -> tuple[str, str, tuple[str, ...]]:
    place, _, columns = text.partition("=")
    side, _, field = place.partition(".")
    names = tuple(name.strip() for name in columns.split(",") if name.strip())
    fields = ("id", "date", "amount", "text", "reference")
    if side not in ("left", "right") or field not in fields or not names:
        message = f"{text!r} is not like left.text=vendor,memo; fields: {', '.join(fields)}"
        raise argparse.ArgumentTypeError(message)
    return side, field, names


def _mapped_field(text: str) -> tuple[str, tuple[str, ...]]:
    field, _, columns = text.partition("=")
    names = tuple(name.strip() for name in columns.split(",") if name.strip())
    fields = ("id", "entity", "vendor", "category", "amount", "time")
    if field not in fields or not names:
        message = f"{text!r} is not like entity=card_number; fields: {', '.join(fields)}"
        raise argparse.ArgumentTypeError(message)
    return field, names


def _money(text: str) -> float:
    try:
        amount = float(text)
    except ValueError:
        amount = 0.0
    if not 0 < amount < 1e12:  # noqa: PLR2004  # infinity is no limit
        message = f"{text!r} is not an amount above 0, such as 2500"
        raise argparse.ArgumentTypeError(message)
    return amount


def _settings(options: argparse.Namespace) -> "Settings":
    """Settings from the environment, where the command line's own are put first.

    The definitions that Dagster loads read them there as well.
    """
    from audit_pipeline.settings import Settings

    for name, value in (
        ("AUDIT_FIXTURES", getattr(options, "fixtures", None)),
        ("AUDIT_DATA_DIR", getattr(options, "data", None)),
        ("AUDIT_RULES", getattr(options, "rules", None)),
    ):
        if value:
            os.environ[name] = str(Path(value).absolute())
    return Settings.from_env()


# ── reconcile ───────────────────────────────────────────────────────────────────────────────────


def _reconcile(options: argparse.Namespace) -> int:
    from audit_pipeline import report
    from audit_pipeline.agents.reconciliation.linkage_sql import Window
    from audit_pipeline.reconcile import Wish, reconcile
    from audit_pipeline.runs import Progress

    window, asked = Window(), vars(options)
    names = ("days_before", "days_after", "tolerance")
    if options.model and any(asked[name] is not None for name in names):
        raise BadUsage("--model brings its own window; leave --days-… and --tolerance out")
    if options.out.suffix.lower() not in (".csv", ".parquet", ".json", ".jsonl"):
        raise BadUsage(f"{options.out}: the name must end in .csv, .parquet, .json or .jsonl")
    if options.out.resolve() in (options.left.resolve(), options.right.resolve()):
        raise BadUsage("--out must be another file than --left and --right")
    mapping: dict[str, dict[str, tuple[str, ...]]] = {"left": {}, "right": {}}
    for side, field, columns in options.mapping:
        mapping[side][field] = columns
    began = time.monotonic()
    console = _console(options.json_file)
    wish = Wish(
        options.left,
        options.right,
        options.out,
        mapping,
        replace(window, **{name: asked[name] for name in names if asked[name] is not None}),
        options.one_to_one,
        options.model,
        options.save_model,
    )
    with Progress(console) as progress:
        outcome = reconcile(wish, progress.say)
    if options.json_file:
        _write_json(options.json_file, outcome.as_json())
    report.show_reconciliation(console, outcome, options.out, time.monotonic() - began)
    return DONE


# ── score ───────────────────────────────────────────────────────────────────────────────────────


def _score(options: argparse.Namespace) -> int:
    from audit_pipeline import report
    from audit_pipeline.runs import Progress
    from audit_pipeline.score import FORMATS, LIMIT, Wish, score

    written = [path for path in (options.out, options.signals) if path is not None]
    if len({path.resolve() for path in (options.file, *written)}) <= len(written):
        raise BadUsage("FILE, --out and --signals must be different files")
    for path in written:
        if path.suffix.lower() not in FORMATS:
            raise BadUsage(f"{path}: the name must end in {', '.join(FORMATS)}")
    began = time.monotonic()
    console = _console(options.json_file)
    limit = LIMIT if options.limit is None else options.limit
    wish = Wish(options.file, options.out, dict(options.mapping), limit, options.signals)
    with Progress(console) as progress:
        outcome = score(wish, progress.say)
    if options.json_file:
        _write_json(options.json_file, outcome.as_json())
    report.show_scores(console, outcome, options.out, time.monotonic() - began)
    return DONE


# ── audit ───────────────────────────────────────────────────────────────────────────────────────


def _audit(options: argparse.Namespace) -> int:
    from audit_pipeline import report, runs
    from audit_pipeline.adapters.fixtures import read_fixtures
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.settings import load_rules, rules_text

    began = time.monotonic()
    gc.set_threshold(GARBAGE_EVERY)
    settings = _settings(options)
    load_rules(rules_text(settings.rules_path), str(settings.rules_path or "rules.yaml"))
    console = _console(options.json_file)
    with runs.Progress(console) as progress:
        snapshot = read_fixtures(settings.fixtures, settings.data_dir, progress.say)
        from_on, to_on = runs.audited_days(snapshot, options.from_on, options.to_on)
        run = runs.execute(settings, snapshot, from_on, to_on, progress)
    with Store.open(settings.store_url) as store:
        outcome = report.outcome_of(run, snapshot, from_on, to_on, store)
        if options.json_file:
            _write_json(options.json_file, report.document(outcome, store))
        report.show_outcome(console, outcome, store, settings.fixtures)
    console.print(
        f"{run.status.replace('_', ' ')}: {from_on} to {to_on}, run {run.run_id[:8]}, "
        f"{time.monotonic() - began:.1f} s",
        style="bold",
        highlight=False,
    )
    if run.status == "completed":
        return DONE
    closed = run.status == "gate_closed"
    said = "the quality gate is closed; nothing was audited" if closed else "the audit failed"
    remedy = (
        "Mend the source, or audit around the day with --from and --to."
        if closed
        else "Run the same command again, or look at the run with `make ui`."
    )
    lines = [f"audit-pipeline: {said}:", *(f"  - {reason}" for reason in run.reasons), remedy]
    print(report.plain("\n".join(lines)), file=sys.stderr)
    return CLOSED if closed else FAILED


def _console(json_file: str | None) -> "Console":
    from rich.console import Console

    return Console(stderr=json_file == "-", highlight=False)


def _write_json(file: str, document: object) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=True)
    if file == "-":
        print(text)
        return
    try:
        Path(file).write_text(text + "\n", encoding="utf-8")
    except OSError as fault:
        message = f"cannot write {file}: {fault.strerror}"
        raise BadUsage(message) from fault


# ── flags, reperform, rules, schema ─────────────────────────────────────────────────────────────


def _flags(options: argparse.Namespace) -> int:
    from audit_pipeline import report
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.settings import load_rules, rules_text

    settings = _settings(options)
    console = _console(options.json_file)
    with Store.open(settings.store_url) as store:
        if options.flag_id:
            flag = store.flag(options.flag_id)
            if options.json_file:
                _write_json(options.json_file, report.flag_documents([flag], store)[0])
                return DONE
            rules = load_rules(rules_text(settings.rules_path))
            report.show_flag(console, flag, store.findings_of_flag(flag.flag_id), rules)
            return DONE
        flags = store.flags(
            options.population,
            options.severity,
            None if options.all else "open",
            rule=options.rule,
        )
        if options.json_file:
            _write_json(options.json_file, report.flag_documents(flags[: options.limit], store))
            return DONE
        if not flags:
            console.print("No such flags. `audit-pipeline audit` makes some.")
            return DONE
        report.show_flags(console, flags, options.limit)
    return DONE


def _reperform(options: argparse.Namespace) -> int:
    from audit_pipeline import report
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.reperformance import reperform

    settings = _settings(options)
    console = _console(None)
    with Store.open(settings.store_url) as store:
        flag = store.flag(options.flag_id)
        compared = reperform(flag, store, settings.data_dir)
    for one in compared:
        verdict = {True: "same", False: "DIFFERENT", None: "not re-performed"}[one.same]
        finding = one.finding
        console.print(
            report.plain(
                f"{finding.rule_id} on {finding.audit_on}, {finding.transaction_id}: {verdict}"
                f" (measured {finding.measured.normalize():f})"
            ),
            markup=False,
        )
        for difference in one.differences:
            console.print(report.plain(f"    {difference}"), markup=False)
        if options.sql and one.sql:
            console.print(one.sql, markup=False)
    return CLOSED if any(one.same is False for one in compared) else DONE


def _rules(options: argparse.Namespace) -> int:
    from audit_pipeline import report
    from audit_pipeline.settings import load_rules, rules_text

    path = Path(options.rules) if options.rules else None
    rules = load_rules(rules_text(path), str(path or "rules.yaml"))
    print(report.rules_markdown(rules) if options.markdown else report.rules_text(rules))
    return DONE


def _schema(options: argparse.Namespace) -> int:
    from audit_pipeline.adapters.store.ddl import schema_ddl

    print(schema_ddl(options.dialect))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
