"""The queue's filters as a page's address has them."""

import datetime as dt
import re
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from decimal import Decimal, InvalidOperation
from urllib.parse import urlencode

from audit_pipeline.adapters.store.worklist import STANDINGS, Filters
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.flag import Severity

NAMES = (
    *("severity", "rule", "vendor", "cardholder", "amount_min", "amount_max"),
    *("from", "to", "state", "assignee", "snoozed", "q"),
)
CHARACTERS_MAX = 200
AMOUNT_MAX = 10**15


@dataclass(frozen=True)
class Asked:
    """What a page was asked for: the texts as they were typed, and what they mean."""

    texts: dict[str, str]
    filters: Filters

    @property
    def query(self) -> str:
        """The same as the address of a page."""
        return urlencode({name: text for name, text in self.texts.items() if text})


def asked(given: Mapping[str, str], me: str) -> Asked:
    """From the parameters of an address.

    Args:
        me: the person who asks; `assignee=me` means that one.

    Raises:
        BadUsage: a filter cannot be read; every such filter is named.
    """
    texts = {name: given.get(name, "").strip()[:CHARACTERS_MAX] for name in NAMES}
    wrong: list[str] = []
    state = texts["state"] or "open"
    severity = texts["severity"].upper()
    if state not in STANDINGS:
        wrong.append(f"state: one of {', '.join(STANDINGS)}")
    if severity and severity not in list(Severity):
        wrong.append(f"severity: one of {', '.join(Severity)}")
    bounds = [_cents(texts, name, wrong) for name in ("amount_min", "amount_max")]
    days = [_day(texts, name, wrong) for name in ("from", "to")]
    if wrong:
        raise BadUsage("the filters cannot be read: " + "; ".join(wrong))
    assignee = texts["assignee"]
    return Asked(
        texts,
        Filters(
            severity=Severity(severity) if severity else None,
            rule=texts["rule"],
            vendor=texts["vendor"],
            cardholder=texts["cardholder"],
            amount_min_cents=bounds[0],
            amount_max_cents=bounds[1],
            from_on=days[0],
            to_on=days[1],
            state=state,
            assignee=me if assignee == "me" else assignee,
            snoozed=texts["snoozed"] == "1",
            text=texts["q"],
        ),
    )


def _cents(texts: Mapping[str, str], name: str, wrong: list[str]) -> int | None:
    text = texts[name].replace(",", "")
    if not text:
        return None
    try:
        amount = Decimal(text)
    except InvalidOperation:
        amount = Decimal("NaN")
    if not amount.is_finite() or abs(amount) >= AMOUNT_MAX:
        wrong.append(f"{name}: an amount, as 1250.00")
        return None
    return int(amount * 100)


def _day(texts: Mapping[str, str], name: str, wrong: list[str]) -> dt.date | None:
    text = texts[name]
    if not text:
        return None
    if re.fullmatch(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", text):
        with suppress(ValueError):
            return dt.date.fromisoformat(text)
    wrong.append(f"{name}: a day, as 2026-03-31")
    return None
