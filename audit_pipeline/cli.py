"""The command line: audit, flags, reperform, rules, schema.

Exit codes: 0 done; 1 the quality gate is closed, or a re-performance differs; 2 bad usage or
input; 3 the audit failed. An expected error is one message that names the remedy, never a
traceback.
"""

import argparse
import datetime as dt
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from audit_pipeline.model.errors import AuditError, BadUsage, GateClosed

if TYPE_CHECKING:
    from rich.console import Console

    from audit_pipeline.settings import Settings

DONE, CLOSED, BAD_INPUT, FAILED = 0, 1, 2, 3
FLAGS_SHOWN = 10


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


# ── audit ───────────────────────────────────────────────────────────────────────────────────────


def _audit(options: argparse.Namespace) -> int:
    from audit_pipeline import report, runs
    from audit_pipeline.adapters.fixtures import read_fixtures
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.settings import load_rules, rules_text

    began = time.monotonic()
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
