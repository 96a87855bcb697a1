"""The command line: audit, flags, reperform, rules, schema.

Exit codes: 0 done; 1 the quality gate is closed, or a re-performance differs; 2 bad usage or
input; 3 the audit failed. An expected error is one message that names the remedy, never a
traceback.
"""

import argparse
import datetime as dt
import json
import os
import shutil
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from audit_pipeline.model.errors import AuditError, BadUsage, GateClosed, GoldUnreadable

if TYPE_CHECKING:
    from rich.console import Console

    from audit_pipeline.adapters.fixtures import Snapshot
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.adapters.store.rows import FlagRow, PartitionRow
    from audit_pipeline.settings import Settings

DONE, CLOSED, BAD_INPUT, FAILED = 0, 1, 2, 3
FLAGS_SHOWN = 10
DAYS_MAX = 20_000


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns its exit code."""
    options = _parser().parse_args(arguments)
    try:
        return options.run(options)
    except GateClosed as closed:
        print(f"audit-pipeline: {closed}", file=sys.stderr)
        return CLOSED
    except AuditError as fault:
        print(f"audit-pipeline: {fault}", file=sys.stderr)
        return BAD_INPUT
    except BrokenPipeError:
        sys.stderr.close()
        return DONE
    except KeyboardInterrupt:
        print("audit-pipeline: stopped; run the same command again to go on", file=sys.stderr)
        return FAILED


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
    flags.add_argument("--limit", type=int, default=50, metavar="N", help="default 50")
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


@dataclass(frozen=True)
class _Run:
    """How a run ended."""

    run_id: str
    status: str
    reasons: tuple[str, ...] = ()


def _audit(options: argparse.Namespace) -> int:
    from audit_pipeline.adapters.fixtures import read_fixtures
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.settings import load_rules, rules_text

    settings = _settings(options)
    load_rules(rules_text(settings.rules_path), str(settings.rules_path or "rules.yaml"))
    console = _console(options.json_file)
    began = time.monotonic()
    progress = _Progress(console)
    snapshot = read_fixtures(settings.fixtures, settings.data_dir, progress.say)
    from_on, to_on = _range(snapshot, options.from_on, options.to_on)
    run = _execute(settings, snapshot, from_on, to_on, progress)
    progress.end()
    with Store.open(settings.store_url) as store:
        days = store.partitions(snapshot.about.name, from_on, to_on)
        flags = [
            flag for flag in store.flags(snapshot.about.name) if from_on <= flag.audit_on <= to_on
        ]
        if run.status != "completed":
            days, flags = [], []
        if options.json_file:
            document = _document(run, snapshot, from_on, to_on, days, flags, store)
            _write_json(options.json_file, document)
        _show(console, settings, snapshot, run, days, flags, store)
    console.print(
        f"{run.status.replace('_', ' ')}: {from_on} to {to_on}, run {run.run_id[:8]}, "
        f"{time.monotonic() - began:.1f} s",
        style="bold",
        highlight=False,
    )
    if run.status == "gate_closed":
        print(
            "audit-pipeline: the quality gate is closed; nothing was audited:\n"
            + "\n".join(f"  - {reason}" for reason in run.reasons)
            + "\nMend the source, or audit around the day with --from and --to.",
            file=sys.stderr,
        )
        return CLOSED
    if run.status == "failed":
        print("audit-pipeline: the audit failed:", file=sys.stderr)
        for reason in run.reasons:
            print(f"  - {reason}", file=sys.stderr)
        print("Run the same command again, or look at the run with `make ui`.", file=sys.stderr)
        return FAILED
    return DONE


def _range(
    snapshot: "Snapshot", from_on: dt.date | None, to_on: dt.date | None
) -> tuple[dt.date, dt.date]:
    """The days to audit: as asked, else as about.json says, else all there are."""
    from audit_pipeline.adapters.warehouse import days_of

    about = snapshot.about
    if from_on is None or to_on is None:
        first, last = days_of(snapshot)
        problem = next((f.problem for f in snapshot.files if f.problem), None)
        if (
            first is None
            and problem is None
            and not any(f.rows_quarantined for f in snapshot.files)
        ):
            message = (
                "gold.recent_transactions holds no rows, so there is nothing to audit; "
                "name days with --from and --to to audit them all the same"
            )
            raise GoldUnreadable(message)
        from_on = from_on or about.audit_from or first or to_on or snapshot.horizon
        to_on = to_on or about.audit_to or last or snapshot.horizon
    if from_on > to_on:
        message = f"--from {from_on} is after --to {to_on}"
        raise BadUsage(message)
    if (to_on - from_on).days >= DAYS_MAX:
        message = f"{from_on} to {to_on} is more than {DAYS_MAX:,} days; name a shorter range"
        raise BadUsage(message)
    return from_on, to_on


def _execute(
    settings: "Settings",
    snapshot: "Snapshot",
    from_on: dt.date,
    to_on: dt.date,
    progress: "_Progress",
) -> _Run:
    """One Dagster run over the range, in this process, recorded in DAGSTER_HOME."""
    _dagster_home(settings)
    if from_on < settings.start_on:
        os.environ["AUDIT_START_ON"] = from_on.isoformat()
    if settings.end_on is None or to_on > settings.end_on:
        os.environ["AUDIT_END_ON"] = to_on.isoformat()
    progress.say("starting Dagster")
    import dagster as dg

    from audit_pipeline.definitions import defs
    from audit_pipeline.resources import close_books

    run_id = str(uuid.uuid4())
    job = defs.resolve_job_def("daily_audit")
    with dg.DagsterInstance.get() as instance:
        instance.add_event_listener(run_id, progress.event)
        result = job.execute_in_process(
            instance=instance,
            run_id=run_id,
            raise_on_error=False,
            run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
            tags={
                "dagster/asset_partition_range_start": from_on.isoformat(),
                "dagster/asset_partition_range_end": to_on.isoformat(),
                "audit/population": snapshot.about.name[:60],
                "audit/from": from_on.isoformat(),
                "audit/to": to_on.isoformat(),
            },
        )
    close_books()
    if result.success:
        return _Run(run_id, "completed")
    closed = [
        check.description or ""
        for check in result.get_asset_check_evaluations()
        if check.check_name == "quality_gate" and not check.passed
    ]
    if closed:
        return _Run(run_id, "gate_closed", tuple(closed[0].removeprefix("closed: ").split("; ")))
    failures = [
        (event.step_failure_data.user_failure_data, event.step_failure_data.error, event.step_key)
        for event in result.all_node_events
        if event.event_type_value == "STEP_FAILURE"
    ]
    said = [
        f"{step}: {user.description}"
        if user is not None and user.description
        else f"{step}: {_cause(error)}"
        for user, error, step in failures
    ]
    return _Run(run_id, "failed", tuple(said))


def _cause(error: object) -> str:
    while getattr(error, "cause", None) is not None:
        error = getattr(error, "cause")  # noqa: B009 — the type is Dagster's own
    return str(getattr(error, "message", error)).strip().splitlines()[0][:400]


def _dagster_home(settings: "Settings") -> None:
    """Use DAGSTER_HOME, or a home in the data directory with the project's dagster.yaml."""
    home = Path(os.environ.setdefault("DAGSTER_HOME", str(settings.data_dir / "dagster_home")))
    home.mkdir(parents=True, exist_ok=True)
    packaged = Path(__file__).parent.parent / "dagster.yaml"
    if not (home / "dagster.yaml").exists() and packaged.exists():
        shutil.copyfile(packaged, home / "dagster.yaml")


class _Progress:
    """One line on a terminal that says what is being done; nothing elsewhere."""

    def __init__(self, console: "Console") -> None:
        self._status = console.status("") if console.is_terminal else None
        self._began = time.monotonic()
        if self._status:
            self._status.start()

    def say(self, what: str) -> None:
        if self._status:
            self._status.update(f"{time.monotonic() - self._began:5.1f} s  {what}")

    def event(self, entry: object) -> None:
        """A Dagster event of the run."""
        event = getattr(entry, "dagster_event", None)
        if event is not None and event.event_type_value == "STEP_START":
            self.say(str(event.step_key).replace("_", " "))

    def end(self) -> None:
        if self._status:
            self._status.stop()


def _console(json_file: str | None) -> "Console":
    from rich.console import Console

    return Console(stderr=json_file == "-", highlight=False)


def _show(
    console: "Console",
    settings: "Settings",
    snapshot: "Snapshot",
    run: _Run,
    days: "Sequence[PartitionRow]",
    flags: "Sequence[FlagRow]",
    store: "Store",
) -> None:
    from audit_pipeline import report

    report.show_sources(console, snapshot.files)
    if run.status != "completed":
        return
    report.show_ledger(console, days)
    report.show_flags(console, flags, FLAGS_SHOWN)
    rules_of = store.rules_by_transaction(snapshot.about.name)
    planted = report.judge_planted(settings.fixtures, flags, rules_of)
    if planted is not None:
        report.show_planted(console, planted)
    if flags:
        first = flags[0].flag_id[:8]
        console.print(
            f"Next: audit-pipeline flags {first}   shows the evidence; "
            f"audit-pipeline reperform {first}   runs its query again; make ui   opens Dagster."
        )


def _document(
    run: _Run,
    snapshot: "Snapshot",
    from_on: dt.date,
    to_on: dt.date,
    days: "Sequence[PartitionRow]",
    flags: "Sequence[FlagRow]",
    store: "Store",
) -> dict[str, object]:
    def total(name: str) -> object:
        values = [getattr(day, name) for day in days]
        return sum(values) if values and isinstance(values[0], int) else str(sum(values))

    parts = ("transactions", "flagged", "cleared", "quarantined")
    amounts = ("amount", "flagged_amount", "cleared_amount", "quarantined_amount")
    return {
        "audit_run_id": run.run_id,
        "status": run.status,
        "reasons": list(run.reasons),
        "population": snapshot.about.name,
        "from": from_on.isoformat(),
        "to": to_on.isoformat(),
        "transactions": sum(day.transactions for day in days),
        "quarantined": sum(day.quarantined for day in days),
        "sources": [
            {
                "table": file.table,
                "file": file.file,
                "rows_in": file.rows_in,
                "rows_kept": file.rows_kept,
                "rows_quarantined": file.rows_quarantined,
                "problem": file.problem,
                "notes": list(file.notes),
            }
            for file in snapshot.files
        ],
        "ledger": {
            **{name: total(name) for name in parts + amounts},
            "days": [
                {
                    "audit_on": day.audit_on.isoformat(),
                    **{name: getattr(day, name) for name in parts},
                    **{name: str(getattr(day, name)) for name in amounts},
                }
                for day in days
            ],
        },
        "flags": _flag_documents(flags, store),
    }


def _flag_documents(flags: "Sequence[FlagRow]", store: "Store") -> list[dict[str, object]]:
    findings = store.findings_by_flag([flag.flag_id for flag in flags])
    return [
        {
            "flag_id": flag.flag_id,
            "transaction_id": flag.transaction_id,
            "audit_on": flag.audit_on.isoformat(),
            "severity_level": str(flag.severity_level),
            "confidence_score": flag.confidence_score,
            "severity_score": flag.severity_score,
            "explanation": flag.explanation,
            "supporting_evidence_links": list(flag.links),
            "points": [
                {"rule_id": p.rule_id, "points": p.points, "reason": p.reason} for p in flag.points
            ],
            "findings": [
                {
                    "rule_id": finding.rule_id,
                    "rule_version": finding.rule_version,
                    "audit_on": finding.audit_on.isoformat(),
                    "measured": str(finding.measured),
                    "threshold": str(finding.threshold),
                    "score": finding.score,
                    "evidence": [
                        {
                            "name": cell.name,
                            "source": cell.source,
                            "row_id": cell.row_id,
                            "value": cell.value,
                        }
                        for cell in finding.evidence
                    ],
                }
                for finding in findings.get(flag.flag_id, [])
            ],
        }
        for flag in flags
    ]


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
                _write_json(options.json_file, _flag_documents([flag], store)[0])
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
            _write_json(options.json_file, _flag_documents(flags[: options.limit], store))
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
    from audit_pipeline.settings import load_rules, rules_text

    path = Path(options.rules) if options.rules else None
    rules = load_rules(rules_text(path), str(path or "rules.yaml"))
    print(rules_markdown(rules.by_id) if options.markdown else _rules_text(rules.by_id))
    return DONE


def _rules_text(rules: Mapping[str, object]) -> str:
    lines: list[str] = []
    for rule_id, rule in rules.items():
        lines.append(f"{rule_id}  {getattr(rule, 'title', '')}  [{getattr(rule, 'agent', '')}]")
        for name, threshold in getattr(rule, "thresholds", {}).items():
            lines.append(
                f"         {name} = {threshold.value} {threshold.unit} "
                f"({threshold.floor} … {threshold.ceiling})"
            )
    return "\n".join(lines)


def rules_markdown(rules: Mapping[str, object]) -> str:
    """The rule catalogue of the documentation."""
    lines = [
        "# Rules",
        "",
        "Made by `audit-pipeline rules --markdown` from `audit_pipeline/rules.yaml`; a test keeps",
        "the two together. Points add up to a flag's severity score.",
    ]
    for rule_id, rule in rules.items():
        lines += ["", f"## {rule_id} {getattr(rule, 'title', '')}", ""]
        floor = getattr(rule, "at_least", None)
        facts = [
            f"agent {getattr(rule, 'agent', '')}",
            f"version {getattr(rule, 'version', 1)}",
            f"{getattr(rule, 'points', 0)} points",
            *([f"at least {floor}"] if floor else []),
            *(["never lowered"] if getattr(rule, "protected", False) else []),
            *(
                [f"asked {getattr(rule, 'matures_after_days', 0)} days after the transaction"]
                if getattr(rule, "matures_after_days", 0)
                else []
            ),
        ]
        lines.append(", ".join(facts) + ".")
        if getattr(rule, "says", ""):
            lines += ["", f"> {getattr(rule, 'says', '')}"]
        thresholds = getattr(rule, "thresholds", {})
        if thresholds:
            lines += ["", "| threshold | value | from … to | why |", "|---|---|---|---|"]
            lines += [
                f"| {name} | {t.value} {t.unit} | {t.floor} … {t.ceiling} | {t.reason} |"
                for name, t in thresholds.items()
            ]
    return "\n".join(lines)


def _schema(options: argparse.Namespace) -> int:
    from audit_pipeline.adapters.store.ddl import schema_ddl

    print(schema_ddl(options.dialect))
    return DONE


if __name__ == "__main__":
    sys.exit(main())
