"""Settings from the environment, with a default for each in development."""

import datetime as dt
import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from importlib import resources
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import yaml

from audit_pipeline.model.errors import BadUsage, RulesInvalid
from audit_pipeline.model.question import Endpoint
from audit_pipeline.model.rule import Rules, parse_rules
from audit_pipeline.model.trail import RETENTION_YEARS
from audit_pipeline.model.workspace import JOB_FROM_ROWS, Job, Workspace

EXECUTORS = ("in_process", "processes", "celery")
QUEUES = ("io", "compute", "model")
"""Of steps on workers: what reads and writes, what computes, what asks a language model."""
ENVIRONMENTS = ("development", "test", "staging", "production")
ON_DATABRICKS = ("staging", "production")
REDIS_OPTIONS = {"db", "password", "ssl_ca_certs", "ssl_certfile", "ssl_keyfile"}
"""What may follow the `?` of its address; among the others are the times that it is waited for."""
DAGSTER_URL = "http://127.0.0.1:3000"
"""Where `make ui` serves."""
FIRST_DAY = dt.date(2025, 1, 1)
"""Where no data says when audits begin; the specification's first audit."""


@dataclass(frozen=True)
class Settings:
    """Where things are.

    Attributes:
        environment: one of ENVIRONMENTS.
        fixtures: the folder of gold files.
        data_dir: snapshots, derived tables, the store.
        store_url: the store's address; SQLite in the data directory by default.
        redis_url: where live state and the cache are; empty for nowhere.
        start_on: the first daily partition.
        end_on: a last partition beyond today, where the data has one.
        rules_path: another rules file than the packaged one.
        threads: of the local engine; 0 for all.
        llm: the language model's endpoint; without a key no model is asked.
        llm_recording: answers that were recorded, given in place of a model's.
        trail_dir: where signed checkpoints and archived runs are kept, outside the store.
        signing_key: the file of the private key that signs them.
        retention_years: how long an archived run is to be kept.
        workspace: where gold is on Databricks; None where fixtures are read.
        executor: one of EXECUTORS: where the steps of a run that Dagster launches are executed.
        broker_url: the Redis that hands steps to workers; only for `celery`, and a secret.
        dagster_url: of Dagster's web server, which the desk starts audits by.
    """

    environment: str
    fixtures: Path
    data_dir: Path
    store_url: str = field(repr=False)
    start_on: dt.date
    end_on: dt.date | None
    rules_path: Path | None
    threads: int
    llm: Endpoint
    llm_recording: Path | None
    trail_dir: Path
    signing_key: Path
    retention_years: int
    workspace: Workspace | None = None
    redis_url: str = field(default="", repr=False)
    executor: str = "in_process"
    broker_url: str = field(default="", repr=False)
    dagster_url: str = DAGSTER_URL

    @classmethod
    def from_env(cls, env: Mapping[str, str] = os.environ) -> "Settings":
        """The settings of this process.

        Raises:
            BadUsage: lists every setting that is wrong, with what it may be.
        """
        wrong: list[str] = []
        environment = env.get("ENVIRONMENT") or "development"
        if environment not in ENVIRONMENTS:
            wrong.append(f"ENVIRONMENT={environment}: one of {', '.join(ENVIRONMENTS)}")
        fixtures = Path(env.get("AUDIT_FIXTURES") or "fixtures/demo").absolute()
        data_dir = Path(env.get("AUDIT_DATA_DIR") or ".audit_data").absolute()
        about = _about(fixtures)
        start_on = _day(env, "AUDIT_START_ON", wrong) or about.get("audit_from") or FIRST_DAY
        end_on = _day(env, "AUDIT_END_ON", wrong) or about.get("audit_to")
        threads = env.get("AUDIT_THREADS") or "0"
        if not re.fullmatch("[0-9]{1,4}", threads):
            wrong.append(f"AUDIT_THREADS={threads}: a whole number, 0 for all")
        years = env.get("AUDIT_RETENTION_YEARS") or str(RETENTION_YEARS)
        if not re.fullmatch("[0-9]{1,3}", years):
            wrong.append(f"AUDIT_RETENTION_YEARS={years}: a whole number of years")
        trail_dir = Path(env.get("AUDIT_TRAIL_DIR") or data_dir / "trail").absolute()
        signing_key = Path(env.get("AUDIT_SIGNING_KEY") or trail_dir / "signing.key").absolute()
        llm = _endpoint(env, wrong)
        redis_url = _redis_url(env, wrong)
        workspace = _workspace(env, wrong) if environment in ON_DATABRICKS else None
        executor = env.get("AUDIT_EXECUTOR") or "in_process"
        if executor not in EXECUTORS:
            wrong.append(f"AUDIT_EXECUTOR={executor}: one of {', '.join(EXECUTORS)}")
        broker_url = _broker_url(env, wrong, is_asked=executor == "celery")
        dagster_url = _dagster_url(env, wrong)
        _complain(wrong)
        rules, recording = env.get("AUDIT_RULES"), env.get("LLM_RECORDING")
        return cls(
            environment=environment,
            fixtures=fixtures,
            data_dir=data_dir,
            store_url=env.get("AUDIT_STORE_URL") or f"sqlite:///{data_dir / 'audit.sqlite'}",
            start_on=start_on,
            end_on=end_on,
            rules_path=Path(rules) if rules else None,
            threads=int(threads),
            llm=llm,
            llm_recording=Path(recording).absolute() if recording else None,
            trail_dir=trail_dir,
            signing_key=signing_key,
            retention_years=int(years),
            workspace=workspace,
            redis_url=redis_url,
            executor=executor,
            broker_url=broker_url,
            dagster_url=dagster_url,
        )

    @staticmethod
    def broker_of(env: Mapping[str, str]) -> str:
        """Where workers get their steps, whatever AUDIT_EXECUTOR says.

        Raises:
            BadUsage: it is not said, or is no Redis.
        """
        wrong: list[str] = []
        broker_url = _broker_url(env, wrong, is_asked=True)
        _complain(wrong)
        return broker_url

    @staticmethod
    def workspace_of(env: Mapping[str, str], *, is_asked: bool = True) -> Workspace:
        """Where Databricks is, whatever ENVIRONMENT says.

        Args:
            is_asked: it will be; otherwise only names are wanted, and the catalog is enough.

        Raises:
            BadUsage: lists every setting that is missing.
        """
        wrong: list[str] = []
        workspace = _workspace(env, wrong, is_asked=is_asked)
        _complain(wrong)
        return workspace


def _complain(wrong: list[str]) -> None:
    if wrong:
        raise BadUsage("wrong or missing settings:\n" + "\n".join(f"  - {w}" for w in wrong))


def _broker_url(env: Mapping[str, str], wrong: list[str], *, is_asked: bool) -> str:
    url = (env.get("AUDIT_BROKER_URL") or env.get("AUDIT_REDIS_URL") or "").strip()
    # The address may hold a password, so it is not repeated.
    if is_asked and not url.startswith(("redis://", "rediss://")):
        wrong.append("AUDIT_BROKER_URL (or AUDIT_REDIS_URL): redis://<host>:<port>/<number>")
    return url


def _endpoint(env: Mapping[str, str], wrong: list[str]) -> Endpoint:
    usual = Endpoint()
    prices = env.get("LLM_PRICES")
    return Endpoint(
        api_key=(env.get("OPENROUTER_API_KEY") or "").strip(),
        base_url=env.get("LLM_BASE_URL") or usual.base_url,
        model_default=env.get("LLM_MODEL_DEFAULT") or usual.model_default,
        model_edge=env.get("LLM_MODEL_EDGE") or usual.model_edge,
        prices_path=Path(prices) if prices else None,
        budget_run=_dollars(env, "LLM_BUDGET_RUN", usual.budget_run, wrong),
        budget_day=_dollars(env, "LLM_BUDGET_DAY", usual.budget_day, wrong),
    )


def _dagster_url(env: Mapping[str, str], wrong: list[str]) -> str:
    url = (env.get("AUDIT_DAGSTER_URL") or DAGSTER_URL).strip().rstrip("/")
    try:
        address = urlsplit(url)
        is_place = address.scheme in ("http", "https") and address.hostname and address.port != 0
        is_plain = not (address.query or address.fragment or address.username)
    except ValueError:
        is_place = is_plain = False
    if not (is_place and is_plain):
        wrong.append("AUDIT_DAGSTER_URL: http[s]://host[:port][/path], without a name or password")
    return url


def _redis_url(env: Mapping[str, str], wrong: list[str]) -> str:
    url = (env.get("AUDIT_REDIS_URL") or "").strip()
    if url and not _is_redis(url):
        # not shown: it may hold a password
        wrong.append(
            "AUDIT_REDIS_URL: redis://[[user]:password@]host[:port][/database], rediss://… for "
            "TLS, or unix:///path"
        )
    return url


def _is_redis(url: str) -> bool:
    """An address that its client understands, and with which our bounds of time hold."""
    try:
        address = urlsplit(url)
        port = address.port
    except ValueError:
        return False
    asked = parse_qs(address.query, keep_blank_values=True)
    databases = asked.get("db", [])
    if address.scheme == "unix":
        is_place = not address.hostname and len(address.path) > 1
    else:
        is_place = address.scheme in ("redis", "rediss") and bool(address.hostname) and port != 0
        databases = [*databases, address.path.removeprefix("/")]
    return (
        is_place
        and not address.fragment
        and set(asked) <= REDIS_OPTIONS
        and all(re.fullmatch("[0-9]{0,4}", database) for database in databases)
    )


def _workspace(env: Mapping[str, str], wrong: list[str], *, is_asked: bool = True) -> Workspace:
    """Where Databricks is; everything that is missing is named at once."""

    def said(name: str, usual: str = "") -> str:
        return (env.get(name) or usual).strip()

    host = re.sub(r"^https://|/+$", "", said("DATABRICKS_HOST"))
    path, warehouse = said("DATABRICKS_HTTP_PATH"), said("DATABRICKS_WAREHOUSE_ID")
    token, client = said("DATABRICKS_TOKEN"), said("DATABRICKS_CLIENT_ID")
    secret = said("DATABRICKS_CLIENT_SECRET")
    catalog, ca_file = said("DATABRICKS_CATALOG"), said("DATABRICKS_CA_FILE")
    for missing, line in (
        (is_asked and not host, "DATABRICKS_HOST: the workspace's host name"),
        (
            is_asked and not (path or warehouse),
            "DATABRICKS_WAREHOUSE_ID or DATABRICKS_HTTP_PATH: the warehouse",
        ),
        (
            is_asked and not token and not (client and secret),
            "DATABRICKS_TOKEN, or DATABRICKS_CLIENT_ID and DATABRICKS_CLIENT_SECRET: who asks",
        ),
        (
            is_asked and ca_file and not Path(ca_file).is_file(),
            f"DATABRICKS_CA_FILE={ca_file}: there is no such file",
        ),
        (not catalog, "DATABRICKS_CATALOG: the catalog in which gold lies"),
    ):
        if missing:
            wrong.append(line)
    return Workspace(
        host=host,
        http_path=path or f"/sql/1.0/warehouses/{warehouse}",
        catalog=catalog,
        token=token,
        client_id="" if token else client,
        client_secret="" if token else secret,
        ca_file=ca_file,
        gold=said("DATABRICKS_GOLD_SCHEMA", "gold"),
        audit=said("DATABRICKS_AUDIT_SCHEMA", "audit"),
        scratch=said("DATABRICKS_SCRATCH_SCHEMA", "audit_scratch"),
        population=said("AUDIT_POPULATION"),
        as_of=_day(env, "AUDIT_AS_OF", wrong),
        job=_job(env, wrong),
    )


def _job(env: Mapping[str, str], wrong: list[str]) -> Job | None:
    """Where heavy steps run; None where no cluster is named."""
    cluster_id = (env.get("DATABRICKS_JOB_CLUSTER_ID") or "").strip()
    cluster = (env.get("DATABRICKS_JOB_CLUSTER") or "").strip()
    file = (env.get("DATABRICKS_JOB_FILE") or "").strip()
    volume = (env.get("DATABRICKS_JOB_VOLUME") or "").strip().rstrip("/")
    rows = env.get("DATABRICKS_JOB_FROM_ROWS") or str(JOB_FROM_ROWS)
    if not cluster_id and not cluster:
        return None
    for is_wrong, line in (
        (cluster_id and cluster, "DATABRICKS_JOB_CLUSTER_ID, DATABRICKS_JOB_CLUSTER: only one"),
        (cluster and not _is_object(cluster), "DATABRICKS_JOB_CLUSTER: a JSON object"),
        (not file.startswith("/"), "DATABRICKS_JOB_FILE: the entry point's path"),
        (not volume.startswith("/"), "DATABRICKS_JOB_VOLUME: a folder, /Volumes/…"),
        (not re.fullmatch("[0-9]{1,12}", rows), "DATABRICKS_JOB_FROM_ROWS: a whole number"),
    ):
        if is_wrong:
            wrong.append(line)
    from_rows = int(rows) if rows.isdecimal() else JOB_FROM_ROWS
    return Job(file, volume, cluster_id, cluster, from_rows)


def _is_object(text: str) -> bool:
    try:
        return isinstance(json.loads(text), dict)
    except ValueError:
        return False


def _dollars(env: Mapping[str, str], name: str, usual: Decimal, wrong: list[str]) -> Decimal:
    text = env.get(name) or str(usual)
    if re.fullmatch(r"[0-9]{1,5}(\.[0-9]{1,6})?", text):
        return Decimal(text)
    wrong.append(f"{name}={text}: US dollars as 1 or 0.50")
    return usual


def _day(env: Mapping[str, str], name: str, wrong: list[str]) -> dt.date | None:
    text = env.get(name)
    if not text:
        return None
    try:
        return dt.date.fromisoformat(text)
    except ValueError:
        wrong.append(f"{name}={text}: a day as YYYY-MM-DD")
        return None


def _about(fixtures: Path) -> dict[str, dt.date]:
    """The days that a fixture folder's about.json names; its reader complains about the rest."""
    try:
        said = json.loads((fixtures / "about.json").read_text(encoding="utf-8"))
        return {
            key: dt.date.fromisoformat(said[key])
            for key in ("audit_from", "audit_to")
            if isinstance(said.get(key), str)
        }
    except (OSError, ValueError, AttributeError):
        return {}


def rules_text(path: Path | None) -> str:
    """The text of a rules file; of the packaged one for None.

    Raises:
        BadUsage: the file cannot be read.
    """
    if path is None:
        return resources.files("audit_pipeline").joinpath("rules.yaml").read_text(encoding="utf-8")
    try:
        return path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as fault:
        raise BadUsage(f"cannot read the rules file {path}: {fault}") from fault


def load_rules(text: str, source: str = "rules.yaml") -> Rules:
    """Rules from YAML text.

    Raises:
        RulesInvalid: with every mistake, each with its key path.
    """
    try:
        document: object = yaml.safe_load(text)
    except yaml.YAMLError as fault:
        raise RulesInvalid(source, [f"(file): not YAML: {fault}"]) from fault
    rules = parse_rules(document, source)
    missing = _missing_from(rules)
    if missing:
        raise RulesInvalid(source, missing)
    return rules


def _missing_from(rules: Rules) -> list[str]:
    """What the packaged rules have and these lack; the code reads all of it."""
    packaged = parse_rules(yaml.safe_load(rules_text(None)))
    return [
        f"rules.{rule_id}: missing"
        if rule_id not in rules.by_id
        else f"rules.{rule_id}.thresholds.{name}: missing"
        for rule_id, rule in packaged
        for name in ([""] if rule_id not in rules.by_id else rule.thresholds)
        if rule_id not in rules.by_id or name not in rules[rule_id].thresholds
    ]


def digest(text: str) -> str:
    """16 hex digits that name a rules text."""
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def folder_name(population: str) -> str:
    """A folder for a population: readable, safe, and different for different names."""
    readable = re.sub(r"[^A-Za-z0-9]+", "-", population).strip("-")[:40] or "population"
    return f"{readable}-{hashlib.sha256(population.encode()).hexdigest()[:8]}"
