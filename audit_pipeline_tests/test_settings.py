"""Settings: a default for each in development, every mistake in one message."""

import datetime as dt
import json
from decimal import Decimal
from pathlib import Path

import pytest

from audit_pipeline.model.errors import BadUsage, RulesInvalid
from audit_pipeline.model.question import Endpoint
from audit_pipeline.model.workspace import Workspace
from audit_pipeline.settings import (
    FIRST_DAY,
    Settings,
    digest,
    folder_name,
    load_rules,
    rules_text,
)

PACKAGED = rules_text(None)


def test_defaults(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    monkeypatch.chdir(tmp_path)
    settings = Settings.from_env({})
    assert settings.environment == "development"
    assert settings.fixtures == tmp_path / "fixtures" / "demo"
    assert settings.data_dir == tmp_path / ".audit_data"
    assert settings.store_url == f"sqlite:///{tmp_path}/.audit_data/audit.sqlite"
    assert (settings.start_on, settings.end_on) == (FIRST_DAY, None)
    assert (settings.rules_path, settings.threads) == (None, 0)
    assert settings.llm == Endpoint()
    assert settings.llm.api_key == ""


def test_everything_can_be_set(tmp_path: Path):
    ca_file = tmp_path / "ca.pem"
    ca_file.touch()
    settings = Settings.from_env(
        {
            "ENVIRONMENT": "staging",
            "AUDIT_FIXTURES": "/gold",
            "AUDIT_DATA_DIR": "/data",
            "AUDIT_STORE_URL": "postgresql+psycopg2://audit@db/audit",
            "AUDIT_START_ON": "2025-02-01",
            "AUDIT_END_ON": "2025-03-01",
            "AUDIT_RULES": "/rules.yaml",
            "AUDIT_THREADS": "3",
            "OPENROUTER_API_KEY": " key ",
            "LLM_BASE_URL": "https://models.example/v1",
            "LLM_MODEL_DEFAULT": "cheap",
            "LLM_MODEL_EDGE": "strong",
            "LLM_PRICES": "/prices.yaml",
            "LLM_BUDGET_RUN": "0.25",
            "LLM_BUDGET_DAY": "0",
            "LLM_RECORDING": "/answers.jsonl",
            "AUDIT_AS_OF": "2025-03-02",
            "AUDIT_POPULATION": "books",
            "AUDIT_TRAIL_DIR": "/trail",
            "AUDIT_SIGNING_KEY": "/keys/signing.key",
            "AUDIT_RETENTION_YEARS": "10",
            "DATABRICKS_HOST": "https://dbc-1.example.com/",
            "DATABRICKS_WAREHOUSE_ID": "abc",
            "DATABRICKS_CLIENT_ID": "auditor",
            "DATABRICKS_CLIENT_SECRET": "secret",
            "DATABRICKS_CATALOG": "main",
            "DATABRICKS_GOLD_SCHEMA": "golden",
            "DATABRICKS_AUDIT_SCHEMA": "audits",
            "DATABRICKS_SCRATCH_SCHEMA": "scratch",
            "DATABRICKS_CA_FILE": str(ca_file),
        }
    )
    assert settings == Settings(
        environment="staging",
        fixtures=Path("/gold"),
        data_dir=Path("/data"),
        store_url="postgresql+psycopg2://audit@db/audit",
        start_on=dt.date(2025, 2, 1),
        end_on=dt.date(2025, 3, 1),
        rules_path=Path("/rules.yaml"),
        threads=3,
        llm=Endpoint(
            api_key="key",
            base_url="https://models.example/v1",
            model_default="cheap",
            model_edge="strong",
            prices_path=Path("/prices.yaml"),
            budget_run=Decimal("0.25"),
            budget_day=Decimal(0),
        ),
        llm_recording=Path("/answers.jsonl"),
        trail_dir=Path("/trail"),
        signing_key=Path("/keys/signing.key"),
        retention_years=10,
        workspace=Workspace(
            host="dbc-1.example.com",
            http_path="/sql/1.0/warehouses/abc",
            catalog="main",
            client_id="auditor",
            client_secret="secret",
            ca_file=str(ca_file),
            gold="golden",
            audit="audits",
            scratch="scratch",
            population="books",
            as_of=dt.date(2025, 3, 2),
        ),
    )


def test_the_key_is_not_shown():
    settings = Settings.from_env({"OPENROUTER_API_KEY": "sk-or-v1-secret"})
    assert settings.llm.api_key == "sk-or-v1-secret"
    assert "secret" not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "redis://localhost",
        "redis://:password@redis.example:6380/3",
        "rediss://user:p%40ss@10.0.0.1:6380/0?ssl_ca_certs=/ca.pem",
        "redis://[::1]:6379?db=2",
        "unix:///run/redis/redis.sock?db=1&password=secret",
        " redis://localhost:6379/ ",
    ],
)
def test_an_address_of_redis(url: str):
    settings = Settings.from_env({"AUDIT_REDIS_URL": url})
    assert settings.redis_url == url.strip()
    assert url.strip() not in repr(settings)


@pytest.mark.parametrize(
    "url",
    [
        "localhost:6379",
        "http://very-secret@localhost",
        "redis://",
        "redis://very-secret@",
        "redis://:very-secret@localhost:port",
        "redis://:very-secret@localhost:0",
        "redis://:very-secret@localhost:99999",
        "redis://:very-secret@localhost/name",
        "redis://:very-secret@localhost/1/2",
        "redis://:very-secret@localhost?db=-1",
        "redis://:very-secret@localhost?socket_timeout=60",  # we decide how long it is waited for
        "redis://:very-secret@localhost?invented=1",
        "redis://:very-secret#@localhost",
        "redis://:very-secret@[::1",
        "unix://very-secret@",
        "unix:///",
        "unix://host/path",
        "unix:///path?db=x",
    ],
)
def test_an_address_of_redis_that_is_none(url: str):
    """Listed with the other mistakes; the address itself is not shown."""
    with pytest.raises(BadUsage) as told:
        Settings.from_env({"AUDIT_REDIS_URL": url, "AUDIT_THREADS": "-1"})
    assert "AUDIT_REDIS_URL: redis://" in str(told.value)
    assert "AUDIT_THREADS=-1" in str(told.value)
    assert "very-secret" not in str(told.value)


def test_an_empty_setting_is_none():
    empty: dict[str, str] = dict.fromkeys(
        (
            "ENVIRONMENT",
            "AUDIT_FIXTURES",
            "AUDIT_START_ON",
            "AUDIT_THREADS",
            "AUDIT_RULES",
            "AUDIT_REDIS_URL",
            "OPENROUTER_API_KEY",
            "LLM_BASE_URL",
            "LLM_BUDGET_DAY",
        ),
        "",
    )
    assert Settings.from_env(empty) == Settings.from_env({})


def test_all_mistakes_at_once():
    with pytest.raises(BadUsage) as told:
        Settings.from_env(
            {
                "ENVIRONMENT": "prod",
                "AUDIT_START_ON": "2025-02-30",
                "AUDIT_END_ON": "soon",
                "AUDIT_THREADS": "-1",
                "LLM_BUDGET_RUN": "-1",
                "LLM_BUDGET_DAY": "NaN",
            }
        )
    said = str(told.value)
    for line in (
        "ENVIRONMENT=prod: one of development, test, staging, production",
        "AUDIT_START_ON=2025-02-30: a day as YYYY-MM-DD",
        "AUDIT_END_ON=soon",
        "AUDIT_THREADS=-1: a whole number",
        "LLM_BUDGET_RUN=-1: US dollars",
        "LLM_BUDGET_DAY=NaN: US dollars",
    ):
        assert line in said


@pytest.mark.parametrize("threads", ["²", "٣", "1e3", " ", "2 "])
def test_a_number_is_written_in_plain_digits(threads: str):
    with pytest.raises(BadUsage):
        Settings.from_env({"AUDIT_THREADS": threads})


def test_the_first_and_last_day_come_from_the_folder(tmp_path: Path):
    about = {"audit_from": "2025-02-03", "audit_to": "2025-02-28"}
    (tmp_path / "about.json").write_text(json.dumps(about))
    settings = Settings.from_env({"AUDIT_FIXTURES": str(tmp_path)})
    assert (settings.start_on, settings.end_on) == (dt.date(2025, 2, 3), dt.date(2025, 2, 28))
    settings = Settings.from_env({"AUDIT_FIXTURES": str(tmp_path), "AUDIT_START_ON": "2025-01-01"})
    assert settings.start_on == dt.date(2025, 1, 1)


@pytest.mark.parametrize(
    "text", ["", "[]", "{", '"text"', '{"audit_from": 3}', '{"audit_from": "soon"}', "\ud800"]
)
def test_a_strange_about_does_not_stop_the_start(tmp_path: Path, text: str):
    """Its reader says what is wrong with it; the UI must come up all the same."""
    (tmp_path / "about.json").write_bytes(text.encode("utf-8", "surrogatepass"))
    assert Settings.from_env({"AUDIT_FIXTURES": str(tmp_path)}).start_on == FIRST_DAY


def test_the_packaged_rules_are_valid():
    rules = load_rules(PACKAGED)
    assert rules["RC-02"].protected
    assert {rule_id for rule_id, _ in rules} >= {"DQ-01", "RC-01", "AN-01", "CX-01", "ES-00"}


def test_rules_of_another_file(tmp_path: Path):
    (tmp_path / "rules.yaml").write_text(
        PACKAGED.replace("{value: 0.90, floor", "{value: 0.8, floor")
    )
    rules = load_rules(rules_text(tmp_path / "rules.yaml"))
    assert rules["DQ-01"].number("completeness") == 0.8


@pytest.mark.parametrize("missing", ["DQ-01", "RC-01", "AN-05", "CX-04", "ES-00", "ES-03"])
def test_a_rule_that_is_gone_is_a_mistake(missing: str):
    """Every rule is asked for by name, so a file without it cannot be audited by."""
    head, _, rest = PACKAGED.partition(f"\n  {missing}:\n")
    assert rest
    following = rest.find("\n  ES-0" if missing.startswith("ES") else "\n  " + missing[:2])
    text = head + (rest[following:] if following >= 0 else "\n")
    with pytest.raises(RulesInvalid, match=missing):
        load_rules(text)


def test_a_threshold_that_is_gone_is_a_mistake():
    text = PACKAGED.replace("      bits_min:", "      bits_minimum:")
    assert text != PACKAGED
    with pytest.raises(RulesInvalid, match="bits_min"):
        load_rules(text)


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("value: .nan", "rules.DQ-01.thresholds.completeness.value"),
        ("value: .inf", "rules.DQ-01.thresholds.completeness.value"),
        ("value: much", "rules.DQ-01.thresholds.completeness.value"),
        ("value: 2", "outside floor 0.5 … ceiling 1"),
    ],
)
def test_a_threshold_that_is_no_number(line: str, said: str):
    with pytest.raises(RulesInvalid) as told:
        load_rules(PACKAGED.replace("value: 0.90", line, 1))
    assert said in str(told.value)


def test_rules_that_are_no_yaml():
    with pytest.raises(RulesInvalid, match="not YAML"):
        load_rules("rules: [")


def test_rules_run_no_code():
    with pytest.raises(RulesInvalid, match="not YAML"):
        load_rules("rules: !!python/object/apply:os.system ['true']")


@pytest.mark.parametrize("content", [b"\xff\xfe\x00", None])
def test_a_rules_file_that_cannot_be_read(tmp_path: Path, content: bytes | None):
    path = tmp_path / "rules.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(BadUsage, match="cannot read the rules file"):
        rules_text(path)


def test_names_for_folders():
    assert folder_name("demo") == folder_name("demo")
    assert folder_name("demo").startswith("demo-")
    names = {folder_name(name) for name in ("a b", "a-b", "a/b", "../b", "", "ü", "x" * 300)}
    assert len(names) == 7
    for name in names:
        assert "/" not in name
        assert not name.startswith((".", "-"))
        assert len(name) <= 50


def test_a_digest_names_a_text():
    assert digest("a") == digest("a") != digest("b")
    assert len(digest("")) == 16
