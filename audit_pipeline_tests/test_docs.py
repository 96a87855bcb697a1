"""The documentation that is made from the code is what the code would make today."""

from pathlib import Path

import pytest

from audit_pipeline.cli import main

ROOT = Path(__file__).parent.parent
OURS = ("AUDIT_", "LLM_", "OPENROUTER_")


def test_the_rule_catalogue_is_current(capsys: pytest.CaptureFixture[str]) -> None:
    """`docs/rules.md` is what `audit-pipeline rules --markdown` prints."""
    assert main(["rules", "--markdown"]) == 0
    assert (ROOT / "docs" / "rules.md").read_text(encoding="utf-8") == capsys.readouterr().out


def test_the_readme_names_files_that_exist() -> None:
    """Every path in backticks that looks like a file of the project is there."""
    text = (ROOT / "README.md").read_text(encoding="utf-8")
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


def test_every_setting_is_in_the_example() -> None:
    """`.env.example` names each setting that the code reads."""
    settings = (ROOT / "audit_pipeline" / "settings.py").read_text(encoding="utf-8")
    example = (ROOT / ".env.example").read_text(encoding="utf-8")
    read = {word for word in settings.split('"') if word.startswith(OURS) and word.isupper()}
    assert {name for name in read if name not in example} == set()
