"""What is usual for a vendor: how often, how much, since when.

It is derived from the gold that an audit read, which takes seconds, so it is kept in Redis where
there is one. The key names that gold and the day, so what is found there is never out of date.
"""

import datetime as dt
import hashlib
import json
from collections.abc import Mapping
from contextlib import closing
from decimal import Decimal
from typing import Any

from pydantic import BaseModel, ConfigDict

from audit_pipeline.adapters.state import LiveState
from audit_pipeline.adapters.store import Store
from audit_pipeline.adapters.store.rows import FlagRow, StoredQuery
from audit_pipeline.books import Books
from audit_pipeline.model.errors import BadUsage
from audit_pipeline.model.query import Query
from audit_pipeline.reperformance import rules_then, warehouse_then
from audit_pipeline.settings import Settings

LIVES_SECONDS = 24 * 60 * 60
PROFILE = """
WITH asked AS (
  SELECT coalesce(vendor_id, vendor_key) AS entity, vendor
  FROM audit.transactions WHERE transaction_id = $transaction_id
), before AS (
  SELECT entry.cents, entry.audit_on,
    date_diff('day', lag(entry.audit_on) OVER (ORDER BY entry.audit_on, entry.transaction_id),
      entry.audit_on) AS gap_days
  FROM audit.transactions AS entry
  JOIN asked ON asked.entity = coalesce(entry.vendor_id, entry.vendor_key)
  WHERE entry.audit_on <= $as_of AND entry.transaction_id <> $transaction_id
)
SELECT any_value(asked.entity) AS vendor_id,
  any_value(asked.vendor) AS vendor, count(before.cents) AS transactions,
  min(before.audit_on) AS first_on, max(before.audit_on) AS last_on,
  CAST(quantile_disc(before.cents, 0.1) AS BIGINT) AS low_amount,
  CAST(quantile_disc(before.cents, 0.5) AS BIGINT) AS median_amount,
  CAST(quantile_disc(before.cents, 0.9) AS BIGINT) AS high_amount,
  CAST(quantile_disc(before.gap_days, 0.5) AS BIGINT) AS gap_days
FROM asked LEFT JOIN before ON true
HAVING count(*) > 0
"""

CHARGES_MAX = 400
HISTORY = """
WITH asked AS (
  SELECT coalesce(vendor_id, vendor_key) AS entity, vendor
  FROM audit.transactions WHERE transaction_id = $transaction_id
)
SELECT entry.transaction_id, entry.audit_on, entry.cents, asked.vendor
FROM audit.transactions AS entry
JOIN asked ON asked.entity = coalesce(entry.vendor_id, entry.vendor_key)
WHERE entry.audit_on <= $as_of
ORDER BY entry.transaction_id = $transaction_id DESC, entry.audit_on DESC, entry.transaction_id
LIMIT 400
"""


class VendorProfile(BaseModel):
    """The other transactions of a flagged one's vendor, up to the audited day.

    Attributes:
        vendor_id: the vendor's entity: its id, or the letters of its name where it has none.
        vendor: the name as the transaction has it; untrusted.
        low_amount: a tenth of the amounts are below it, as a tenth are above `high_amount`; None
            without transactions, like the others.
        gap_days: the median between two of them, None for fewer than two.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vendor_id: str
    vendor: str
    as_of: dt.date
    transactions: int
    first_on: dt.date | None
    last_on: dt.date | None
    low_amount: Decimal | None
    median_amount: Decimal | None
    high_amount: Decimal | None
    gap_days: int | None


class PastCharge(BaseModel):
    """A payment to a vendor."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    transaction_id: str
    on: dt.date
    cents: int


class VendorHistory(BaseModel):
    """The payments to a flag's vendor up to the audited day, this one among them.

    Attributes:
        vendor: the name as the transaction has it; untrusted.
        charges: this one first, then the latest CHARGES_MAX.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    vendor: str
    as_of: dt.date
    charges: tuple[PastCharge, ...]

    @property
    def usual_cents(self) -> tuple[int, int]:
        """The tenth and the ninetieth of a hundred amounts."""
        amounts = sorted(charge.cents for charge in self.charges)
        return amounts[len(amounts) // 10], amounts[-1 - len(amounts) // 10]


def vendor_history(
    flag: FlagRow, store: Store, settings: Settings, live: LiveState
) -> VendorHistory | None:
    """Of the flag's vendor, as of the flag's audit date; None as for `vendor_profile`.

    Raises:
        BadUsage: the gold or the rules file that the audit read is not there any more, or the
            flag is of no ledger entry.
    """
    found = _asked(flag, store)
    if found is None:
        return None
    query, then, key = found
    key = key.replace("vendor_profile", "vendor_history", 1)
    try:
        kept = VendorHistory.model_validate_json(json.dumps(live.get(key)), strict=True)
    except ValueError:
        kept = None
    if kept is not None and kept.as_of == flag.audit_on:
        return kept
    rows = _look_up(flag, settings, query, then, HISTORY)
    history = VendorHistory(
        vendor=str(rows[0]["vendor"]),
        as_of=flag.audit_on,
        charges=tuple(
            PastCharge(transaction_id=row["transaction_id"], on=row["audit_on"], cents=row["cents"])
            for row in rows
        ),
    )
    live.put(key, history.model_dump(mode="json"), LIVES_SECONDS, [f"flag:{flag.flag_id}"])
    return history


def vendor_profile(
    flag: FlagRow, store: Store, settings: Settings, live: LiveState
) -> VendorProfile | None:
    """Of the flag's vendor, as of the flag's audit date; None where no query of the flag is kept.

    Raises:
        BadUsage: the gold or the rules file that the audit read is not there any more, or the
            flag is of no ledger entry.
    """
    found = _asked(flag, store)
    if found is None:
        return None
    query, then, key = found
    kept = _read(live.get(key))
    if kept is not None and kept.as_of == flag.audit_on:
        return kept
    rows = _look_up(flag, settings, query, then, PROFILE)
    row: dict[str, Any] = {
        name: Decimal(str(value)).scaleb(-2) if value is not None and "amount" in name else value
        for name, value in rows[0].items()
    }
    profile = VendorProfile(as_of=flag.audit_on, **row)
    live.put(key, profile.model_dump(mode="json"), LIVES_SECONDS, [f"vendor:{profile.vendor_id}"])
    return profile


def _read(kept: object) -> VendorProfile | None:
    """From what a cache gave back; None where it is no profile."""
    try:
        return VendorProfile.model_validate_json(json.dumps(kept), strict=True)
    except ValueError:
        return None


def _asked(flag: FlagRow, store: Store) -> tuple[StoredQuery, Mapping[str, Any], str] | None:
    """A query of the flag, what it read, and the key under which a profile made of that is kept."""
    query = next(iter(store.queries_of(flag.flag_id)), None)
    if query is None or not isinstance(query.tables, Mapping):
        return None
    then: Mapping[str, Any] = query.tables
    made_of = (query.snapshot_id, str(then.get("horizon", "")), str(then["rules"]))
    asked = hashlib.sha256(flag.transaction_id.encode("utf-8", "surrogatepass")).hexdigest()
    return query, then, ":".join(("vendor_profile", *made_of, flag.audit_on.isoformat(), asked))


def _look_up(
    flag: FlagRow, settings: Settings, query: StoredQuery, then: Mapping[str, Any], sql: str
) -> list[dict[str, Any]]:
    """Rows about the flag's vendor, from the gold that the audit read."""
    with closing(warehouse_then(settings, query, then)) as warehouse:
        books = Books(warehouse, rules_then(settings, then), flag.audit_on, flag.audit_on)
        books.need("transactions")
        bound = {"transaction_id": flag.transaction_id, "as_of": flag.audit_on}
        rows = warehouse.rows(Query(sql, bound))
    if not rows:
        raise BadUsage(
            f"{flag.transaction_id} has no vendor of the ledger to look up: it is a line of "
            "another file, or was quarantined"
        )
    return rows
