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
from audit_pipeline.adapters.store.rows import FlagRow
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


def vendor_profile(
    flag: FlagRow, store: Store, settings: Settings, live: LiveState
) -> VendorProfile | None:
    """Of the flag's vendor, as of the flag's audit date; None where no query of the flag is kept.

    Raises:
        BadUsage: the gold or the rules file that the audit read is not there any more, or the
            flag is of no ledger entry.
    """
    query = next(iter(store.queries_of(flag.flag_id)), None)
    if query is None or not isinstance(query.tables, Mapping):
        return None
    then: Mapping[str, Any] = query.tables
    made_of = (query.snapshot_id, str(then.get("horizon", "")), str(then["rules"]))
    asked = hashlib.sha256(flag.transaction_id.encode("utf-8", "surrogatepass")).hexdigest()
    key = ":".join(("vendor_profile", *made_of, flag.audit_on.isoformat(), asked))
    kept = _read(live.get(key))
    if kept is not None and kept.as_of == flag.audit_on:
        return kept
    with closing(warehouse_then(settings, query, then)) as warehouse:
        books = Books(warehouse, rules_then(settings, then), flag.audit_on, flag.audit_on)
        books.need("transactions")
        bound = {"transaction_id": flag.transaction_id, "as_of": flag.audit_on}
        rows = warehouse.rows(Query(PROFILE, bound))
    if not rows:
        raise BadUsage(
            f"{flag.transaction_id} has no vendor of the ledger to look up: it is a line of "
            "another file, or was quarantined"
        )
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
