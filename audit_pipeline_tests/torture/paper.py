"""What two real audits hand to the store: recorded once, replayed thousands of times.

The rules themselves read and do not write, so a kill within them is a kill between two effects;
deriving their tables again for every kill would take 4 s each. They are recorded in a
process of their own: who forks should not have audited before.
"""

import datetime as dt
import pickle
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from audit_pipeline import publishing
from audit_pipeline.settings import load_rules
from audit_pipeline_tests import small_company
from audit_pipeline_tests.environment import ROOT, Workplace, why_not

FIRST = small_company.AUDIT_FROM
RANGES = (
    (FIRST, FIRST + dt.timedelta(days=19)),
    (FIRST + dt.timedelta(days=12), small_company.AUDIT_TO),
)
"""They overlap, so that the second updates and supersedes what the first has published."""


@dataclass(frozen=True)
class Paper:
    """The audits, in their order.

    Attributes:
        publications: what each hands to the store at its end.
        rows: the stored rows of one derived table for each.
        rules: the rules text.
    """

    publications: tuple[publishing.Publication, ...]
    rows: tuple[pa.Table, ...]
    rules: str


def recorded(folder: Path) -> Paper:
    """Of the small company; recorded at the first call."""
    file = folder / "paper.pickle"
    if not file.exists():
        code = f"import sys, pathlib, {__name__} as paper; paper.record(pathlib.Path(sys.argv[1]))"
        arguments = [sys.executable, "-c", code, str(file)]
        subprocess.run(arguments, check=True, cwd=ROOT, timeout=300)
    paper: Paper = pickle.loads(file.read_bytes())  # noqa: S301 - our own file
    rules = load_rules(paper.rules)
    return replace(paper, publications=tuple(replace(p, rules=rules) for p in paper.publications))


def record(file: Path) -> None:
    """Audit both ranges, and write down what was published."""
    published: list[publishing.Publication] = []
    put = publishing.Publication.put

    def noted(self: publishing.Publication, *given: Any) -> Any:
        no_rules: Any = None  # they do not pickle, and are read from their text again
        published.append(replace(self, rules=no_rules))
        return put(self, *given)

    with tempfile.TemporaryDirectory() as home, pytest.MonkeyPatch.context() as patched:
        patched.setattr(publishing.Publication, "put", noted)
        gold = small_company.make().write(Path(home) / "gold")
        workplace = Workplace(Path(home), gold)
        rows: list[pa.Table] = []
        with workplace.instance() as instance:
            for from_on, to_on in RANGES:
                result = workplace.audit(instance, from_on, to_on)
                assert result.success, why_not(result)
                found = published[-1].raised.findings
                days = [finding.audit_on for finding in found]
                ids = [finding.transaction_id for finding in found]
                rows.append(pa.table({"audit_on": days, "transaction_id": ids}))
        [kept] = (workplace.data_dir / "rules").iterdir()
        paper = Paper(tuple(published), tuple(rows), kept.read_text(encoding="utf-8"))
    arriving = file.with_suffix(".arriving")
    arriving.write_bytes(pickle.dumps(paper))
    arriving.replace(file)
