"""The command line: audit, desk, status, flags, workpaper, reperform, verify, reconcile, score, ….

Exit codes: 0 done; 1 the quality gate is closed, or a re-performance differs; 2 bad usage or
input; 3 the audit failed; 10 and more: what is wrong with the trail (`model.alignment`). An
expected error is one message that names the remedy, never a traceback.
"""

import argparse
import gc
import json
import os
import sys
import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from audit_pipeline.cli_options import parser
from audit_pipeline.model.errors import (
    AuditError,
    BadUsage,
    BrokerUnavailable,
    GateClosed,
    WarehouseError,
)

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
    options = parser(COMMANDS).parse_args(arguments)
    try:
        code = options.run(options)
        sys.stdout.flush()
    except GateClosed as closed:
        print(f"audit-pipeline: {closed}", file=sys.stderr)
        return CLOSED
    except AuditError as fault:
        print(f"audit-pipeline: {fault}", file=sys.stderr)
        return FAILED if isinstance(fault, WarehouseError | BrokerUnavailable) else BAD_INPUT
    except BrokenPipeError:
        # What is still buffered would fail once more, when Python flushes at its end.
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())
        return DONE
    except KeyboardInterrupt:
        print("audit-pipeline: stopped; run the same command again to go on", file=sys.stderr)
        return FAILED
    return code


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
    from audit_pipeline.adapters.results import FORMATS
    from audit_pipeline.runs import Progress
    from audit_pipeline.score import LIMIT, Wish, score

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
    from audit_pipeline import model_use, report, runs
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.settings import load_rules, rules_text

    began = time.monotonic()
    gc.set_threshold(GARBAGE_EVERY)
    settings = _settings(options)
    load_rules(rules_text(settings.rules_path), str(settings.rules_path or "rules.yaml"))
    console = _console(options.json_file)
    with runs.Progress(console) as progress:
        state, from_on, to_on = runs.look(settings, options.from_on, options.to_on, progress)
        run = runs.execute(settings, state, from_on, to_on, progress)
    with Store.open(settings.store_url) as store:
        outcome = report.outcome_of(run, state, from_on, to_on, store)
        if options.json_file:
            _write_json(options.json_file, report.document(outcome, store))
        fixtures = None if settings.workspace else settings.fixtures
        report.show_outcome(console, outcome, store, fixtures)
        model_use.show_run(console, store, run.run_id)
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


# ── flags, reperform ────────────────────────────────────────────────────────────────────────────


def _flags(options: argparse.Namespace) -> int:
    from audit_pipeline import report
    from audit_pipeline.adapters.state import live_state
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.settings import load_rules, rules_text
    from audit_pipeline.vendor_profile import vendor_profile

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
            if options.vendor:
                profile = vendor_profile(flag, store, settings, live_state(settings.redis_url))
                report.show_vendor(console, profile)
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
        compared = reperform(flag, store, settings)
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


# ── verify ──────────────────────────────────────────────────────────────────────────────────────


def _verify(options: argparse.Namespace) -> int:
    from audit_pipeline import verification
    from audit_pipeline.runs import Progress

    console = _console(options.json_file)
    asked = verification.Asked(
        options.checkpoint, options.key, options.prove, options.consistency, options.archive
    )
    with Progress(console) as progress:
        outcome = verification.verification(_settings(options), asked, progress.say)
    if options.json_file:
        _write_json(options.json_file, outcome.as_json())
    verification.show(console, outcome)
    return outcome.exit_code


# ── workpaper ───────────────────────────────────────────────────────────────────────────────────


def _workpaper(options: argparse.Namespace) -> int:
    from audit_pipeline.adapters.store.papers import Selection
    from audit_pipeline.review.workpaper_file import export

    asked = Selection(options.from_on, options.to_on, tuple(options.flag_ids), options.population)
    paper = export(_settings(options), asked, options.out, options.by)
    print(f"{options.out}: {paper.flags:,} flags, {paper.from_on} to {paper.to_on}")
    print(f"SHA-256 of its sheets, as its manifest and the trail say: {paper.sha256}")
    return DONE


# ── status, health ──────────────────────────────────────────────────────────────────────────────


def _status(options: argparse.Namespace) -> int:
    from audit_pipeline import status
    from audit_pipeline.adapters.state import live_state
    from audit_pipeline.adapters.store import Store

    settings = _settings(options)
    console = _console(options.json_file)
    with Store.open(settings.store_url) as store:
        found = status.status(store, live_state(settings.redis_url), options.run_id)
    if options.json_file:
        _write_json(options.json_file, status.as_json(found))
        return DONE
    status.show_status(console, found)
    return DONE


def _health(options: argparse.Namespace) -> int:
    from audit_pipeline import report, status
    from audit_pipeline.adapters.state import live_state

    settings = _settings(options)
    tried = status.health(settings, live_state(settings.redis_url))
    for one, is_needed in tried:
        verdict = "well" if one.is_well else "WRONG" if is_needed else "warn"
        print(report.plain(" ".join(f"{verdict:5} {one.name}: {one.said}".splitlines())))
    return DONE if all(one.is_well or not is_needed for one, is_needed in tried) else FAILED


# ── databricks, model, rules, schema ────────────────────────────────────────────────────────────


def _databricks(options: argparse.Namespace) -> int:
    from audit_pipeline import report
    from audit_pipeline.adapters.databricks import tables
    from audit_pipeline.settings import Settings

    prints = options.what in ("grants", "gold")
    workspace = Settings.workspace_of(os.environ, is_asked=not prints)
    if options.what == "grants":
        print(tables.setup_script(workspace), end="")
        return DONE
    if options.what == "gold":
        print(";\n\n".join(tables.gold_statements(workspace.gold_table)) + ";")
        return DONE
    from audit_pipeline.adapters.databricks.health import check_databricks_health
    from audit_pipeline.adapters.databricks.warehouse import create_tables

    if options.what == "setup":
        create_tables(workspace)
    health = check_databricks_health(workspace)
    for one in health:
        print(report.plain(f"{'well' if one.is_well else 'WRONG':5} {one.name}: {one.said}"))
    return DONE if all(one.is_well for one in health) else FAILED


def _model(options: argparse.Namespace) -> int:
    from audit_pipeline import model_use
    from audit_pipeline.adapters.store import Store
    from audit_pipeline.settings import load_rules, rules_text

    settings = _settings(options)
    console = _console(options.json_file)
    with Store.open(settings.store_url) as store:
        use = model_use.model_use(store, load_rules(rules_text(settings.rules_path)))
    if options.json_file:
        _write_json(options.json_file, model_use.as_json(use))
        return DONE
    model_use.show(console, use)
    return DONE


def _rules(options: argparse.Namespace) -> int:
    from audit_pipeline import report
    from audit_pipeline.settings import load_rules, rules_text

    path = Path(options.rules) if options.rules else None
    rules = load_rules(rules_text(path), str(path or "rules.yaml"))
    print(report.rules_markdown(rules) if options.markdown else report.rules_text(rules))
    return DONE


def _worker(options: argparse.Namespace) -> int:
    from audit_pipeline.settings import Settings
    from audit_pipeline.workers import start

    broker_url = Settings.broker_of(os.environ)
    return start(broker_url, options.queues, options.name or "", options.concurrency)


def _desk(options: argparse.Namespace) -> int:
    from audit_pipeline.cli_desk import desk

    return desk(options, _settings(options))


def _users(options: argparse.Namespace) -> int:
    from audit_pipeline.cli_desk import users

    return users(options, _settings(options))


def _schema(options: argparse.Namespace) -> int:
    from audit_pipeline.adapters.store.ddl import schema_ddl

    print(schema_ddl(options.dialect))
    return DONE


COMMANDS = {
    "audit": _audit,
    "status": _status,
    "flags": _flags,
    "workpaper": _workpaper,
    "reperform": _reperform,
    "verify": _verify,
    "reconcile": _reconcile,
    "score": _score,
    "model": _model,
    "databricks": _databricks,
    "health": _health,
    "rules": _rules,
    "worker": _worker,
    "desk": _desk,
    "users": _users,
    "schema": _schema,
}


if __name__ == "__main__":
    sys.exit(main())
