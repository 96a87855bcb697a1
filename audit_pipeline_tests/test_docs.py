"""The documentation that is made from the code is what the code would make today."""

from pathlib import Path

import pytest

from audit_pipeline.cli import main
from audit_pipeline.model.alignment import EXIT_CODES, MEANINGS
from audit_pipeline.variables import VARIABLES, as_example, as_markdown

ROOT = Path(__file__).parent.parent
OURS = ("AUDIT_", "DATABRICKS_", "LLM_", "OPENROUTER_")


def test_the_rule_catalogue_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """`docs/rules.md` is what `audit-pipeline rules --markdown` prints."""
    assert main(["rules", "--markdown"]) == 0
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == capsys.readouterr().out


def test_the_readme_names_files_that_exist() -> None:
    """Every path in backticks that looks like a file of the project is there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    text = text.replace(as_markdown(), "")  # models' names look like paths, defaults like files
    named = {
        word
        for word in text.split("`")[1::2]
        if "/" in word and " " not in word and "{" not in word and not word.startswith((".", "-"))
    }
    missing = [
        word
        for word in sorted(named)
        if not any((base / word).exists() for base in (ROOT, ROOT / "audit_pipeline"))
        and "<" not in word
    ]
    assert missing == []


def test_every_setting_that_is_read_is_declared() -> None:
    """`variables.py` has each variable that the code reads, and no other."""
    files = [ROOT / "audit_pipeline" / name for name in ("settings.py", "review/options.py")]
    texts = [word for file in files for word in file.read_text(encoding="utf-8").split('"')]
    read = {word for word in texts if word.startswith(OURS) and word.isupper()}
    read |= {"ENVIRONMENT", "DAGSTER_HOME", "DAGSTER_POSTGRES_URL"}
    assert read == {variable.name for variable in VARIABLES}


def test_the_exit_codes_of_verify_are_documented() -> None:
    """`docs/trail.md` has each with its meaning."""
    text = (ROOT / "docs" / "trail.md").read_text(encoding="utf-8")
    rows = [f"| {code} | {kind} | {MEANINGS[kind]} |" for kind, code in EXIT_CODES.items()]
    assert [line for line in text.splitlines() if line[:3].strip("| ").isdigit()] == rows


def test_the_settings_are_documented() -> None:
    """The README's table and `.env.example` are what `variables.py` would make today."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    table = readme.split("<!-- settings -->\n")[1].split("\n<!-- end of settings -->")[0]
    assert table == as_markdown()
    assert (ROOT / ".env.example").read_text(encoding="utf-8") == as_example()


def test_databricks_takes_less_than_ten_lines() -> None:
    """Of commands, in the README."""
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    commands = readme.split("## Run on Databricks")[1].split("```")[1].strip().splitlines()[1:]
    assert 3 < len(commands) < 10
