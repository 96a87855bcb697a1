"""What the command line understands: commands, their options, and how values are read."""

import argparse
import datetime as dt
import re
from collections.abc import Callable, Mapping
from pathlib import Path

from audit_pipeline.cli_desk import add_commands
from audit_pipeline.model.alignment import EXIT_CODES, MEANINGS
from audit_pipeline.settings import QUEUES

Run = Callable[[argparse.Namespace], int]
HEALTH_CODES = (
    "One line each. A Redis that does not answer is a warning: audits go on without. exit codes: "
    "0 an audit can run; 3 something that it needs is wrong"
)


def parser(commands_run: Mapping[str, Run]) -> argparse.ArgumentParser:
    """The parser; its result's `run` is what the command does.

    Args:
        commands_run: command → what runs it.
    """
    parser = argparse.ArgumentParser(
        prog="audit-pipeline",
        description="Audits a company's money: reconciles, scores, explains, flags.",
        epilog="exit codes: 0 done; 1 quality gate closed, or a re-performance differs; "
        "2 bad usage or input; 3 the audit failed; 10 and more: see verify --help",
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
    _json_option(audit, "write the result; - for stdout")
    audit.add_argument("--rules", metavar="FILE", help="another rules.yaml")
    audit.set_defaults(run=commands_run["audit"])

    flags = commands.add_parser(
        "flags",
        help="list flags, or show one with its evidence",
        description="Without FLAG_ID: the flags of the last audits, the most severe first.",
    )
    flags.add_argument("flag_id", nargs="?", metavar="FLAG_ID", help="or its first 6 characters")
    flags.add_argument(
        "--vendor", action="store_true", help="with FLAG_ID: what is usual for its vendor, too"
    )
    flags.add_argument("--severity", choices=["CRITICAL", "WARNING", "INFO"])
    flags.add_argument("--rule", metavar="ID", help="with a finding of this rule, e.g. RC-02")
    flags.add_argument("--population", metavar="NAME", help="of this data only, e.g. demo")
    flags.add_argument("--all", action="store_true", help="decided and superseded ones too")
    flags.add_argument("--limit", type=_count, default=50, metavar="N", help="default 50")
    _json_option(flags, "write them; - for stdout")
    flags.set_defaults(run=commands_run["flags"])

    reperform = commands.add_parser(
        "reperform",
        help="run a flag's stored queries again and compare",
        description="Runs the stored query of each finding on the stored inputs, and says same "
        "or different.",
    )
    reperform.add_argument("flag_id", metavar="FLAG_ID", help="or its first 6 characters")
    reperform.add_argument("--sql", action="store_true", help="print the queries too")
    reperform.set_defaults(run=commands_run["reperform"])

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
    _reconcile_options(reconcile)
    reconcile.set_defaults(run=commands_run["reconcile"])

    score = commands.add_parser(
        "score",
        help="score the charges of any extract from 0 to 100, with reasons",
        description="Scores the charges of a file (.csv, .parquet, .json, .jsonl) by how "
        "surprising they are, and says why. Needs no labels and no rules.",
        epilog="OUT has one line a charge: id, score (above 70: about one in a thousand), bits, "
        "rules (patterns it shows), habits (patterns that are usual there), reasons, "
        "and the bits of every signal, which add up. example: audit-pipeline score charges.csv "
        "--out scored.csv --map entity=card_number --map time=posted_at --limit 1000",
    )
    _score_options(score)
    score.set_defaults(run=commands_run["score"])

    verify = commands.add_parser(
        "verify",
        help="verify the audit trail against what was signed of it outside the database",
        description="Hashes every entry anew, and compares with the signed checkpoints in "
        "AUDIT_TRAIL_DIR. Reads only, and needs no key but a public one.",
        epilog="exit codes: 0 whole; 2 bad usage; "
        + "; ".join(f"{code} {MEANINGS[kind]}" for kind, code in EXIT_CODES.items()),
    )
    _verify_options(verify)
    verify.set_defaults(run=commands_run["verify"])

    workpaper = commands.add_parser(
        "workpaper",
        help="write the flags of some days, and all that shows them, to a file for an auditor",
        epilog="Leaves an entry in the trail, with the digest of what was written.",
    )
    _workpaper_options(workpaper)
    workpaper.set_defaults(run=commands_run["workpaper"])

    health, model, status = _small_commands(commands, commands_run)
    desk = add_commands(commands, commands_run)
    for command in (audit, status, flags, workpaper, reperform, model, verify, health, *desk):
        command.add_argument(
            "--data",
            metavar="DIR",
            help="where derived tables, flags and trail are kept (default: .audit_data)",
        )
    return parser


def _small_commands(
    commands: "argparse._SubParsersAction[argparse.ArgumentParser]",
    commands_run: Mapping[str, Run],
) -> tuple[argparse.ArgumentParser, ...]:
    """Those with few options; returns the ones that read a data directory."""
    rules = commands.add_parser(
        "rules", help="list the rules and their thresholds, or check a rules file"
    )
    rules.add_argument("--rules", metavar="FILE", help="another rules.yaml")
    rules.add_argument("--markdown", action="store_true", help="as the documentation has it")
    rules.set_defaults(run=commands_run["rules"])

    model = commands.add_parser(
        "model",
        help="what asking a language model cost, and what it changed",
        description="Shows every purpose for which a language model was asked, with tokens and "
        "dollars, and what became of the flags: raised by it, confirmed by a person, and those "
        "that were held back to compare with.",
    )
    _json_option(model, "- for stdout")
    model.set_defaults(run=commands_run["model"])

    status = commands.add_parser("status", help="runs at work, with the progress of each agent")
    _status_options(status)
    status.set_defaults(run=commands_run["status"])

    health = commands.add_parser(
        "health", help="whether the store, Redis and gold can be used now", epilog=HEALTH_CODES
    )
    health.add_argument("--fixtures", metavar="DIR", help="the folder of gold files")
    health.set_defaults(run=commands_run["health"])

    databricks = commands.add_parser(
        "databricks",
        help="check, or set up, the Databricks warehouse that gold is read from",
        description="check: tries whatever an audit needs, one line each. grants: prints what an "
        "administrator runs once. setup: makes the audit's tables, where they are not there yet. "
        "gold: prints the DDL of the gold tables, for a workspace that has none. The warehouse is "
        "that of DATABRICKS_HOST and the other variables in the README.",
        epilog="exit codes: 0 all is well; 3 something is not, or Databricks does not answer",
    )
    databricks.add_argument("what", choices=["check", "grants", "setup", "gold"])
    databricks.set_defaults(run=commands_run["databricks"])

    worker = commands.add_parser(
        "worker",
        help="execute steps of runs that are spread over several machines",
        description="Takes steps from the Redis of AUDIT_BROKER_URL (or AUDIT_REDIS_URL) and "
        "executes them, until it is stopped: TERM lets it finish its steps, QUIT does not. Runs "
        "hand steps to workers where AUDIT_EXECUTOR is celery.",
        epilog="io reads and writes, compute matches and scores, model asks a language model",
    )
    worker.add_argument(
        "--queues",
        type=_queues,
        default=QUEUES,
        metavar="QUEUE[,QUEUE]",
        help="whose steps it takes (default: io,compute,model)",
    )
    worker.add_argument("--name", type=_worker_name, help="unique on its machine")
    worker.add_argument(
        "--concurrency", type=_positive, metavar="N", help="steps at a time (default: all cores)"
    )
    worker.set_defaults(run=commands_run["worker"])

    schema = commands.add_parser("schema", help="print the DDL of the store")
    schema.add_argument(
        "--dialect", choices=["sqlite", "postgresql", "databricks"], default="sqlite"
    )
    schema.set_defaults(run=commands_run["schema"])
    return health, model, status


def _workpaper_options(workpaper: argparse.ArgumentParser) -> None:
    for name, said in (("from", "first audit date, YYYY-MM-DD"), ("to", "last audit date")):
        workpaper.add_argument(f"--{name}", dest=f"{name}_on", type=_day, metavar="DAY", help=said)
    flags = {"action": "append", "default": [], "metavar": "FLAG_ID"}
    workpaper.add_argument("--flag", dest="flag_ids", help="not days but this one; again", **flags)
    workpaper.add_argument("--population", metavar="NAME", help="of this data only, e.g. demo")
    out = ".xlsx, .pdf, or .zip of .csv"
    workpaper.add_argument("--out", type=Path, required=True, metavar="FILE", help=out)
    workpaper.add_argument("--by", metavar="NAME", help="who prepares it (default: the login name)")


def _verify_options(verify: argparse.ArgumentParser) -> None:
    verify.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="compare with this one too, e.g. your copy"
    )
    verify.add_argument(
        "--key",
        metavar="KEY",
        help="the public key that you trust (a vkey line, or a file of them), in place of those "
        "that lie beside the checkpoints",
    )
    wanted = verify.add_mutually_exclusive_group()
    wanted.add_argument(
        "--prove", type=_count, metavar="N", help="prove that entry N is under the checkpoint"
    )
    wanted.add_argument(
        "--consistency",
        type=Path,
        metavar="OLD",
        help="prove that the trail still begins with this older checkpoint",
    )
    wanted.add_argument(
        "--archive", type=Path, metavar="DIR", help="verify an archived run, without a database"
    )
    _json_option(verify, "write the result, with the proof; - for stdout")


def _json_option(command: argparse.ArgumentParser, said: str) -> None:
    command.add_argument("--json", dest="json_file", metavar="FILE", help=said)


def _status_options(status: argparse.ArgumentParser) -> None:
    status.description = (
        "Without RUN: the runs at work. Progress is live from Redis, where AUDIT_REDIS_URL names "
        "one that answers, else what the trail has of the steps that ended; it says which."
    )
    status.add_argument("run_id", nargs="?", metavar="RUN", help="or its first 6 characters")
    _json_option(status, "- for stdout")


def _reconcile_options(reconcile: argparse.ArgumentParser) -> None:
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
    _json_option(reconcile, "write a summary; - for stdout")


def _score_options(score: argparse.ArgumentParser) -> None:
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
        help="which column is the id, entity (a card, a person), vendor, category, amount, time, "
        "invoice (its number) or account (the payee's), where the name does not say; may be given "
        "again",
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
    _json_option(score, "write a summary; - for stdout")


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


def _positive(text: str) -> int:
    if count := _count(text):
        return count
    message = f"{text!r} is not a whole number of 1 or more"
    raise argparse.ArgumentTypeError(message)


def _queues(text: str) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(text.split(",")))
    if not set(names) <= set(QUEUES):
        message = f"{text!r} is not like io,compute; queues: {', '.join(QUEUES)}"
        raise argparse.ArgumentTypeError(message)
    return names


def _worker_name(text: str) -> str:
    if not re.fullmatch("[A-Za-z0-9_-]{1,60}", text):
        message = f"{text!r} is not a name of letters, digits, - and _"
        raise argparse.ArgumentTypeError(message)
    return text


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
    fields = ("id", "entity", "vendor", "category", "amount", "time", "invoice", "account")
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
