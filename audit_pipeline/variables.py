"""Every environment variable that is read, declared once: README's table and .env.example."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variable:
    """One setting.

    Attributes:
        default: what holds when it is not set; empty for nothing.
        meaning: one sentence for the person who sets it.
        secret: never shown, and never in a file that is shared.
    """

    name: str
    default: str
    meaning: str
    secret: bool = False


_LLM = "a language model is asked only with a key"
VARIABLES: tuple[Variable, ...] = (
    Variable(
        "ENVIRONMENT",
        "development",
        "development or test: gold from fixture files; staging or production: from Databricks",
    ),
    Variable("AUDIT_DATA_DIR", ".audit_data", "where snapshots, derived tables and flags are kept"),
    Variable("AUDIT_FIXTURES", "fixtures/demo", "the folder of gold files in development"),
    Variable(
        "AUDIT_STORE_URL", "", "the store's address; SQLite in AUDIT_DATA_DIR by default", True
    ),
    Variable(
        "AUDIT_REDIS_URL",
        "",
        "Redis for live progress and a cache: redis://, rediss:// or unix://; none by default",
        True,
    ),
    Variable(
        "AUDIT_TRAIL_DIR",
        "",
        "where signed checkpoints and archives go; AUDIT_DATA_DIR/trail; better on another machine",
    ),
    Variable(
        "AUDIT_SIGNING_KEY",
        "",
        "the file of the key that signs them; signing.key in AUDIT_TRAIL_DIR, made at first use",
    ),
    Variable("AUDIT_RETENTION_YEARS", "7", "how long an archived run is to be kept"),
    Variable("AUDIT_RULES", "", "another rules file than the packaged audit_pipeline/rules.yaml"),
    Variable("AUDIT_START_ON", "", "the first daily partition; about.json's or 2025-01-01"),
    Variable("AUDIT_END_ON", "", "the last partition, where the data goes beyond yesterday"),
    Variable("AUDIT_THREADS", "0", "threads of the local engine; 0 for as many as there are"),
    Variable(
        "AUDIT_EXECUTOR",
        "in_process",
        "where a run's steps are executed: in_process, processes or celery (several machines)",
    ),
    Variable(
        "AUDIT_BROKER_URL", "", "the Redis that hands steps to workers; AUDIT_REDIS_URL's", True
    ),
    Variable(
        "AUDIT_DESK_HOSTS", "", "names that the review desk answers to, beside those of loopback"
    ),
    Variable(
        "AUDIT_DESK_BEHIND_PROXY",
        "0",
        "1: a proxy in front of the desk speaks TLS; see docs/desk.md",
    ),
    Variable(
        "AUDIT_DESK_PROXIES", "", "addresses of proxies whose X-Forwarded-For the desk believes"
    ),
    Variable(
        "AUDIT_DESK_ORIGINS", "", "other sites whose scripts may use the desk's API, with tokens"
    ),
    Variable(
        "AUDIT_DESK_KEY",
        "",
        "the file of the secret under sign-ins; desk.key in AUDIT_DATA_DIR, made at first use",
    ),
    Variable(
        "AUDIT_DAGSTER_URL",
        "http://127.0.0.1:3000",
        "Dagster's web server, which the review desk starts audits by; that of `make ui`",
    ),
    Variable("AUDIT_AS_OF", "", "on Databricks: no later day counts as known; the last with a row"),
    Variable("AUDIT_POPULATION", "", "on Databricks: the population's name; catalog.schema"),
    Variable("DATABRICKS_HOST", "", "the workspace, e.g. dbc-12345678-9abc.cloud.databricks.com"),
    Variable("DATABRICKS_WAREHOUSE_ID", "", "the SQL warehouse, or its path in the next"),
    Variable("DATABRICKS_HTTP_PATH", "", "/sql/1.0/warehouses/… in place of the id"),
    Variable("DATABRICKS_TOKEN", "", "a personal access token, or the next two", True),
    Variable("DATABRICKS_CLIENT_ID", "", "a service principal (OAuth machine to machine)"),
    Variable("DATABRICKS_CLIENT_SECRET", "", "its secret", True),
    Variable("DATABRICKS_CATALOG", "", "the catalog of gold and of the audit's own schemas"),
    Variable("DATABRICKS_GOLD_SCHEMA", "gold", "the schema of gold tables; only read"),
    Variable("DATABRICKS_AUDIT_SCHEMA", "audit", "the schema of findings, flags and the rest"),
    Variable("DATABRICKS_SCRATCH_SCHEMA", "audit_scratch", "the schema of tables that last a run"),
    Variable("DATABRICKS_CA_FILE", "", "certificates to trust, where a proxy has its own"),
    Variable("DATABRICKS_JOB_CLUSTER_ID", "", "a cluster for heavy Python steps; or the next"),
    Variable("DATABRICKS_JOB_CLUSTER", "", "a new cluster for each of them, as JSON"),
    Variable("DATABRICKS_JOB_FILE", "", "their entry point: audit_pipeline/job.py, uploaded"),
    Variable("DATABRICKS_JOB_VOLUME", "", "a folder of a volume, for messages: /Volumes/…"),
    Variable("DATABRICKS_JOB_FROM_ROWS", "200000", "fewer rows of gold need no job"),
    Variable("OPENROUTER_API_KEY", "", _LLM, True),
    Variable("LLM_BASE_URL", "https://openrouter.ai/api/v1", "any endpoint like OpenAI's"),
    Variable("LLM_MODEL_DEFAULT", "openai/gpt-4o-mini", "the model of most questions; has a price"),
    Variable("LLM_MODEL_EDGE", "anthropic/claude-3.5-haiku", "that of unsure ones; has a price"),
    Variable(
        "LLM_PRICES", "", "another price file than the packaged audit_pipeline/llm_prices.yaml"
    ),
    Variable("LLM_RECORDING", "", "recorded answers, given in place of a model's"),
    Variable("LLM_BUDGET_RUN", "1", "US dollars that a run may spend"),
    Variable("LLM_BUDGET_DAY", "5", "US dollars that all runs of a UTC day may spend"),
    Variable("DAGSTER_POSTGRES_URL", "", "of deploy/dagster.yaml: postgresql+psycopg2://…", True),
    Variable("DAGSTER_HOME", "", "Dagster's history, absolute; `make` sets it to .dagster_home"),
)


def as_markdown() -> str:
    """The table of the README."""
    lines = ["| variable | default | meaning |", "|---|---|---|"]
    for variable in VARIABLES:
        default = f"`{variable.default}`" if variable.default else ""
        secret = " (secret)" if variable.secret else ""
        lines.append(f"| `{variable.name}` | {default} | {variable.meaning}{secret} |")
    return "\n".join(lines)


def as_example() -> str:
    """The text of .env.example."""
    lines = ["# Copy to .env: Dagster reads it from this directory.", ""]
    for variable in VARIABLES:
        lines += [f"# {variable.meaning}", f"# {variable.name}={variable.default}"]
    return "\n".join(lines) + "\n"
