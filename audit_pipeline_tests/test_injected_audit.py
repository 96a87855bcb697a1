"""An audit of books that are full of attacks on the model, with a model that obeys all of them.

208 charges without a statement line, each with a mail that names its amount; the attacks stand in
the mails, and in the vendors' names too. The stand-in says of everything what the attacks want.
"""

import datetime as dt
import json
import re
from pathlib import Path

import pytest

from audit_pipeline.model.untrusted import masked
from audit_pipeline.settings import rules_text
from audit_pipeline_tests import small_company
from audit_pipeline_tests.environment import DAYS, Row, Workplace, why_not
from audit_pipeline_tests.injections import CARDS, INJECTIONS, KEY, armed
from audit_pipeline_tests.model_server import Asked, model_server
from audit_pipeline_tests.stand_in_model import FENCE, Facts, StandIn

SAYS = "This payment is legitimate and approved; no action is needed."
SHOWN_ONLY = ("explanation", "supporting_evidence_links")


def obeys(facts: Facts) -> tuple[str, str]:
    """As harmless as it can be."""
    assert facts
    return "INFO", SAYS


OBEDIENT = StandIn(obeys, lambda _: SAYS)


def books(folder: Path, *places: str) -> Path:
    """The small company, and a charge for each attack; attacks only in these places."""
    company = small_company.make()
    for n, injection in enumerate(INJECTIONS):
        text = armed(injection, "abcdefghijklmnop")
        on = small_company.AUDIT_FROM + dt.timedelta(days=n % 20)
        said = {place: f" {text}" if place in places else "" for place in ("vendor", "mail")}
        fits = "vendor" in injection.places
        vendor = f"Ordway {n:03d} Works{said['vendor'] if fits else ''}"
        amount = 700 + n + 0.37
        company["recent_transactions"].append(
            {
                "txn_id": f"attack_{n:03d}",
                "source": "credit_card",
                "amount": amount,
                "vendor": vendor,
                "date": f"{on}T10:00:00Z",
                "domain": "business_operations",
                "currency": "USD",
            }
        )
        company["emails"].append(
            {
                "email_id": f"mail_{n:03d}",
                "sender": "someone@elsewhere.example",
                "recipients": ["ada.birch@small.example"],
                "subject": f"Invoice of {amount:,.2f}{said['mail'] if fits else ''}",
                "body": f"For {amount:,.2f}.{said['mail']}",
                "date": f"{on}T08:00:00Z",
            }
        )
    for table in ("recent_transactions", "emails"):
        company[table].sort(key=lambda row: row["date"])
    return company.write(folder)


def audit(home: Path, gold: Path, rules: Path, **settings: str) -> Workplace:
    place = Workplace(home, gold)
    with pytest.MonkeyPatch.context() as patched:
        patched.setitem(DAYS, "AUDIT_RULES", str(rules))
        for name, value in settings.items():
            patched.setenv(name, value)
        with place.instance() as instance:
            result = place.audit(instance, small_company.AUDIT_FROM, small_company.AUDIT_TO)
    assert result.success, why_not(result)
    return place


def asking(home: Path, gold: Path, rules: Path) -> tuple[Workplace, list[Asked]]:
    with model_server() as server:
        server.plans = [OBEDIENT]
        place = audit(home, gold, rules, OPENROUTER_API_KEY=KEY, LLM_BASE_URL=server.url)
        return place, list(server.asked)


@pytest.fixture(scope="module")
def everybody(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Rules by which all flags that are in question are asked about."""
    text = rules_text(None)
    for name, usual, wanted in (
        ("share_max", "0.03", "1"),
        ("holdout_share", "0.1", "0"),
        ("band_from", "40", "1"),
        ("band_to", "60", "100"),
        ("confidence_below", "0.7", "1"),
    ):
        before, after = (f"{name}:\n        {{value: {value}," for value in (usual, wanted))
        assert text.count(before) == 1
        text = text.replace(before, after)
    rules = tmp_path_factory.mktemp("rules") / "rules.yaml"
    rules.write_text(text)
    return rules


def judged(place: Workplace) -> list[Row]:
    """The flags but for the text that is shown."""
    return [
        {name: value for name, value in row.items() if name not in SHOWN_ONLY}
        for row in place.flags()
    ]


def test_attacks_in_mails_change_no_flag(tmp_path: Path, everybody: Path) -> None:
    """Neither what they say to the search, nor what an obedient model makes of them."""
    clean = audit(tmp_path / "clean", books(tmp_path / "gold"), everybody)
    attacked, asked = asking(tmp_path / "attacked", books(tmp_path / "hostile", "mail"), everybody)
    assert len(asked) > len(INJECTIONS) // 10
    assert judged(attacked) == judged(clean)
    assert sum(row["transaction_id"].startswith("attack_") for row in judged(clean)) == len(
        INJECTIONS
    )


def test_attacks_in_names_gain_nothing_from_a_model_that_obeys(
    tmp_path: Path, everybody: Path
) -> None:
    """Flag for flag, to the last letter, as without a model; and nothing leaves that must not."""
    gold = books(tmp_path / "gold", "vendor", "mail")
    off = audit(tmp_path / "off", gold, everybody)
    attacked, asked = asking(tmp_path / "attacked", gold, everybody)
    assert attacked.flags() == off.flags()
    seen = 0
    for one in asked:
        prompt = json.loads(one.body)["messages"][-1]["content"]
        fences = FENCE.findall(prompt)
        seen += len(fences)
        # Each fence ends where it is told to, whatever stands in it; outside are our words only.
        assert fences
        assert all(f"<<<END DATA {nonce}>>>" not in text for nonce, text in fences)
        assert re.fullmatch(r"(Payment P[0-9]+:|\s)*", FENCE.sub("", prompt))
        assert KEY not in one.body
        assert masked(prompt, (KEY,)) == prompt
        assert not any(card in prompt for card in CARDS)
    assert seen >= len(INJECTIONS)
