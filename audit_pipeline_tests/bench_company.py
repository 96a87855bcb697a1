"""An invented company of any size for the benchmark: gold tables as Parquet, made in seconds.

    python -m audit_pipeline_tests.bench_company FOLDER --rows 1000000 --days 365

Nothing is drawn row by row: numpy draws columns, pyarrow writes them. The same arguments give the
same rows. What is realistic here is what costs an audit its time: how often a card meets the same
vendor, how many vendor texts there are, how charges, statements, payments and receipts hang
together. Whether the rules find what they should is measured elsewhere.
"""

import argparse
import datetime as dt
import json
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from pyarrow import compute

pc: Any = compute
"""Its functions are made when it is imported, so that a type checker cannot know them."""

LAST_DAY = dt.date(2025, 12, 31)
SEED = 20_250_101

CHARGES_PER_CARD = 2_500
"""In a year: seven a working day, a busy corporate card."""
VENDORS_MAX = 5_000
ROWS_PER_VENDOR_MIN = 100
HABITS = 60
"""Vendors that a card returns to; four charges in five are there."""

SUPPLIER_SHARE = 0.01
"""Ledger entries that the bank pays without a card."""
REFUND_SHARE = 0.005
OTHER_ID_SHARE = 0.01
"""Statement lines that carry the issuer's own id, so that they must be matched."""
RECEIPT_FROM_CENTS = 7_500
RECEIPT_SHARE = 0.3
TIP_SHARE = 0.1
"""Receipts that show the amount before the tip."""
FAULT_SHARE = 0.0005
"""Charges with each of the faults that `_Ledger` and `_statement` make."""
SHORT_PAYMENT_SHARE = 0.01
"""Card payments that leave one charge out."""

ROW_GROUP = 122_880
NAMES = """
Alder Anchor Arbor Aster Beacon Birch Bluff Bramble Bridge Canyon Cedar Cinder Clover Cobalt Copper
Coral Crescent Cypress Delta Drift Ember Falcon Fern Flint Forest Garnet Glacier Granite Grove Gull
Harbor Hazel Heron Hollow Indigo Iron Ivory Jasper Juniper Kestrel Lantern Larch Linden Lunar Maple
Marble Meadow Mesa Mosaic Nectar Nimbus Oak Onyx Opal Orchard Osprey Pebble Pepper Pine Prairie
Quartz Raven Ridge River Saffron Sierra Slate Sparrow Summit Timber Willow
""".split()
TRADES = """
Airways Analytics Apparel Auto Bakery Bistro Books Brewing Cafe Catering Chemicals Cleaning Cloud
Coffee Computers Consulting Couriers Dental Designs Diner Electric Energy Equipment Events Fitness
Florist Foods Freight Fuels Furniture Gardens Glass Grill Hardware Hosting Hotels Insurance Jewelers
Kitchens Laboratories Laundry Legal Lighting Limousine Logistics Lumber Machines Marketing Media
Motors Music Networks Optics Packaging Paints Parking Pharmacy Photo Plumbing Printing Produce Rail
Rentals Robotics Seafood Security Software Staffing Steel Studio Supply Telecom Textiles Tools Toys
""".split()
FIRST = "Ana Ben Cleo Dara Eli Fay Gus Hana Ivo June Kai Lena Milo Nora Omar Pia".split()
FAMILY = "Abara Bloom Castell Dorsey Ekholm Fontana Grieve Halloran Imai Jensen Kovac Lund".split()
CATEGORIES = """
airlines catering cloud coffee_shops fuel hotels office_supplies professional_services restaurants
shipping software telecom
""".split()
DOMAINS = ("business_operations", "travel", "technology", "marketing")


@dataclass(frozen=True)
class Vendors:
    """The vendors, the most frequented first; arrays are parallel."""

    names: pa.Array
    category: np.ndarray
    domain: np.ndarray
    log_median: np.ndarray
    sigma: np.ndarray
    style: np.ndarray
    """How its descriptor is written: plain, `SQ *`, with a store number, with a reference code."""
    has_prices: np.ndarray
    """It sells at five prices only."""
    is_listed: np.ndarray
    """It is in the vendor master."""
    share: np.ndarray
    """Of the company's charges."""

    def __len__(self) -> int:
        return len(self.share)


@dataclass(frozen=True)
class Charges:
    """Card charges in the order of their time; arrays are parallel."""

    ids: pa.Array
    seconds: np.ndarray
    card: np.ndarray
    vendor: np.ndarray
    cents: np.ndarray
    text: pa.Array

    def __len__(self) -> int:
        return len(self.seconds)

    @property
    def day(self) -> np.ndarray:
        """Days since 1970."""
        return self.seconds // 86_400


@dataclass(frozen=True)
class Cards:
    """The cards; arrays are parallel."""

    last4: np.ndarray
    holders: list[str]
    closing_day: np.ndarray
    pays_after_days: np.ndarray

    def __len__(self) -> int:
        return len(self.last4)


@dataclass(frozen=True)
class Payments:
    """Bank lines that pay a card's statement; arrays are parallel."""

    card: np.ndarray
    day: np.ndarray
    closed: np.ndarray
    closed_before: np.ndarray


def write_company(
    folder: Path, rows: int, days: int, seed: int = SEED, last_day: dt.date = LAST_DAY
) -> dict[str, int]:
    """Write gold tables and about.json into an empty folder.

    Args:
        folder: made if it is missing.
        rows: entries of the ledger, over all days.
        days: how many, the last one being `last_day`.
        seed: of everything that is drawn.

    Returns:
        Rows of each table.
    """
    random = np.random.default_rng(seed)
    last = (last_day - dt.date(1970, 1, 1)).days
    first = last - days + 1
    folder.mkdir(parents=True, exist_ok=True)
    vendors = _vendors(random, min(VENDORS_MAX, max(20, rows // ROWS_PER_VENDOR_MIN)))
    cards = _cards(random, max(2, rows // CHARGES_PER_CARD))
    payments = _payments(cards, first, last)
    suppliers = _suppliers(random, vendors, round(rows * SUPPLIER_SHARE), first, last)
    count = rows - len(suppliers) - len(payments.day)
    charges = _charges(random, vendors, cards, count, (first, last))
    statement_cents = _statement_amounts(random, charges)
    paid = _paid(random, payments, charges, statement_cents, first)
    bank_ids = _ids("bk_", len(paid) + len(suppliers))
    tables = {
        "recent_transactions": _ledger(
            random, vendors, cards, charges, suppliers, payments, paid, bank_ids
        ),
        "credit_cards": _statement(random, vendors, cards, charges, statement_cents),
        "bank_accounts": _bank(random, cards, suppliers, payments, paid, bank_ids),
        "receipts": _receipts(random, vendors, cards, charges),
        "vendors": _master(vendors),
    }
    for name, table in tables.items():
        pq.write_table(table, folder / f"{name}.parquet", row_group_size=ROW_GROUP)
    about = {
        "name": f"bench {rows}",
        "as_of": last_day.isoformat(),
        "audit_from": (last_day - dt.timedelta(days=days - 1)).isoformat(),
        "audit_to": last_day.isoformat(),
    }
    (folder / "about.json").write_text(json.dumps(about, indent=1) + "\n", encoding="utf-8")
    return {name: table.num_rows for name, table in tables.items()}


# ── columns ─────────────────────────────────────────────────────────────────────────────────────


def _money(cents: np.ndarray) -> pa.Array:
    whole = pa.array(cents, pa.int64()).cast(pa.decimal128(19, 0))
    dollars = pc.multiply(whole, pa.scalar(Decimal("0.01"), pa.decimal128(3, 2)))
    return dollars.cast(pa.decimal128(18, 2))


def _instants(seconds: np.ndarray) -> pa.Array:
    return pa.array(seconds * 1_000_000, pa.int64()).cast(pa.timestamp("us", "UTC"))


def _texts(*parts: str | pa.Array) -> pa.Array:
    """The parts put together, row by row."""
    return pc.binary_join_element_wise(*parts, "")


def _numbers(values: np.ndarray, width: int) -> pa.Array:
    return pc.utf8_lpad(pa.array(values, pa.int64()).cast(pa.string()), width, "0")


def _ids(prefix: str, count: int) -> pa.Array:
    return _texts(prefix, _numbers(np.arange(count), 8))


def _of(words: Sequence[str], at: np.ndarray) -> pa.Array:
    return pa.array(words, pa.string()).take(pa.array(at, pa.int64()))


def _where(condition: np.ndarray, yes: Any, no: Any) -> pa.Array:
    return pc.if_else(pa.array(condition), yes, no)


def _faulty(random: np.random.Generator, count: int) -> np.ndarray:
    """Which of so many rows have a certain fault."""
    return random.random(count) < FAULT_SHARE


# ── who ─────────────────────────────────────────────────────────────────────────────────────────


def _vendors(random: np.random.Generator, count: int) -> Vendors:
    names = [f"{name} {trade}" for name in NAMES for trade in TRADES]
    chosen = random.permutation(len(names))[:count]
    category = random.integers(0, len(CATEGORIES), count)
    weights = 1 / (np.arange(count) + 3)
    return Vendors(
        names=_of(names, chosen),
        category=category,
        domain=category % len(DOMAINS),
        log_median=random.normal(3.7, 1.1, count),
        sigma=random.uniform(0.2, 0.7, count),
        style=random.choice(4, count, p=(0.3, 0.15, 0.25, 0.3)),
        has_prices=random.random(count) < 0.25,
        is_listed=random.random(count) < 0.9,
        share=weights / weights.sum(),
    )


def _cards(random: np.random.Generator, count: int) -> Cards:
    return Cards(
        last4=1_000 + random.permutation(9_000)[:count],
        holders=[
            f"{FIRST[n % len(FIRST)]} {FAMILY[n // len(FIRST) % len(FAMILY)]}" for n in range(count)
        ],
        closing_day=random.integers(1, 29, count),
        pays_after_days=random.integers(10, 26, count),
    )


# ── what ────────────────────────────────────────────────────────────────────────────────────────


def _charges(
    random: np.random.Generator,
    vendors: Vendors,
    cards: Cards,
    count: int,
    reach: tuple[int, int],
) -> Charges:
    all_days = np.arange(reach[0], reach[1] + 1)
    busy = np.where((all_days + 3) % 7 < 5, 1.0, 0.3)
    day = random.choice(all_days, count, p=busy / busy.sum())
    seconds = np.sort(day * 86_400 + random.integers(7 * 3_600, 21 * 3_600, count))
    card = random.integers(0, len(cards), count)
    habits = random.choice(len(vendors), (len(cards), HABITS), p=vendors.share)
    habit = np.minimum(random.geometric(0.06, count) - 1, HABITS - 1)
    elsewhere = random.choice(len(vendors), count, p=vendors.share)
    vendor = np.where(random.random(count) < 0.8, habits[card, habit], elsewhere)
    cents = _amounts(random, vendors, vendor)
    cents = np.where(random.random(count) < REFUND_SHARE, -cents, cents)
    cents = np.where(_faulty(random, count), cents * 10, cents)
    charged_twice = np.flatnonzero(_faulty(random, count))
    before = np.maximum(charged_twice - 1, 0)
    card[charged_twice], vendor[charged_twice] = card[before], vendor[before]
    cents[charged_twice] = cents[before]
    text = _descriptors(random, vendors, vendor)
    return Charges(_ids("cc_", count), seconds, card, vendor, cents, text)


def _amounts(random: np.random.Generator, vendors: Vendors, vendor: np.ndarray) -> np.ndarray:
    """Log-normal around the vendor's median, or one of its five prices."""
    free = vendors.sigma[vendor] * random.normal(size=len(vendor))
    prices = np.log(np.array((0.6, 0.8, 1.0, 1.3, 2.0)))
    priced = prices[random.choice(5, len(vendor), p=(0.1, 0.2, 0.4, 0.2, 0.1))]
    logs = vendors.log_median[vendor] + np.where(vendors.has_prices[vendor], priced, free)
    return np.maximum(np.round(np.exp(logs) * 100), 50).astype(np.int64)


def _descriptors(random: np.random.Generator, vendors: Vendors, vendor: np.ndarray) -> pa.Array:
    name = pc.utf8_upper(vendors.names).take(pa.array(vendor))
    store = _numbers(random.integers(1, 200, len(vendor)), 6)
    code = _texts(
        _of(tuple("ABCDEFGHJKLMNPQRSTUVWXYZ"), random.integers(0, 24, len(vendor))),
        _numbers(random.integers(0, 10**8, len(vendor)), 8),
    )
    style = vendors.style[vendor]
    squared = _where(style == 1, _texts("SQ *", name), name)
    numbered = _where(style == 2, _texts(name, " ", store), squared)
    return _where(style == 3, _texts(name, " *", code), numbered)


@dataclass(frozen=True)
class Suppliers:
    """Bills that the bank pays without a card; arrays are parallel."""

    seconds: np.ndarray
    vendor: np.ndarray
    cents: np.ndarray
    text: pa.Array

    def __len__(self) -> int:
        return len(self.seconds)


def _suppliers(
    random: np.random.Generator, vendors: Vendors, count: int, first: int, last: int
) -> Suppliers:
    day = random.integers(first, last + 1, count)
    vendor = random.integers(0, len(vendors), count)
    return Suppliers(
        seconds=day * 86_400 + 12 * 3_600,
        vendor=vendor,
        cents=_amounts(random, vendors, vendor) * 20,
        text=pc.utf8_upper(vendors.names).take(pa.array(vendor)),
    )


# ── statements and payments ─────────────────────────────────────────────────────────────────────


def _payments(cards: Cards, first: int, last: int) -> Payments:
    """One for each month of each card, paid within the days."""
    start = np.datetime64(first, "D").astype("datetime64[M]")
    end = np.datetime64(last, "D").astype("datetime64[M]")
    months = np.arange(start - 2, end + 1)
    closings = months.astype("datetime64[D]").astype(np.int64)[:, None] + cards.closing_day - 1
    pays = closings[1:] + cards.pays_after_days
    month, card = np.nonzero((pays >= first) & (pays <= last))
    return Payments(card, pays[month, card], closings[1:][month, card], closings[month, card])


def _paid(
    random: np.random.Generator,
    payments: Payments,
    charges: Charges,
    statement_cents: np.ndarray,
    first: int,
) -> np.ndarray:
    """The sum of each statement's lines; what lies before the first day is made up."""
    order = np.lexsort((charges.day, charges.card))
    place = charges.card[order] * 100_000 + charges.day[order]
    sums = np.concatenate(([0], np.cumsum(statement_cents[order])))
    at_end = np.searchsorted(place, payments.card * 100_000 + payments.closed, side="right")
    at_start = np.searchsorted(place, payments.card * 100_000 + payments.closed_before, "right")
    paid = sums[at_end] - sums[at_start]
    unknown = random.integers(1_000_000, 3_000_000, len(paid))
    paid = np.where(payments.closed_before < first - 1, paid + unknown, paid)
    left_out = statement_cents[order][np.minimum(at_start, len(order) - 1)]
    is_short = (random.random(len(paid)) < SHORT_PAYMENT_SHARE) & (left_out > 0)
    return np.maximum(np.where(is_short, paid - left_out, paid), 1)


def _statement_amounts(random: np.random.Generator, charges: Charges) -> np.ndarray:
    """What the issuer says of each charge: a few are other amounts, a few not there at all (0)."""
    said = np.where(_faulty(random, len(charges)), charges.cents + 900, charges.cents)
    return np.where(_faulty(random, len(charges)), 0, said)


# ── tables ──────────────────────────────────────────────────────────────────────────────────────


def _ledger(
    random: np.random.Generator,
    vendors: Vendors,
    cards: Cards,
    charges: Charges,
    suppliers: Suppliers,
    payments: Payments,
    paid: np.ndarray,
    bank_ids: pa.Array,
) -> pa.Table:
    """All charges and all bank lines; a few charges are not booked, as many are booked twice."""
    vendor = np.concatenate((charges.vendor, suppliers.vendor))
    known = vendors.is_listed[vendor] & (vendor % 5 < 3)
    vendor_ids = _where(known, _texts("v", _numbers(vendor, 5)), pa.scalar(None, pa.string()))
    no_vendor = pa.nulls(len(paid), pa.string())
    amount = _money(np.concatenate((charges.cents, suppliers.cents, paid)))
    incomplete = _faulty(random, len(amount))
    domain = vendors.domain[vendor]
    table = pa.table(
        {
            "txn_id": pa.chunked_array([charges.ids, bank_ids]),
            "source": _of(("credit_card", "bank"), np.arange(len(amount)) // len(charges) > 0),
            "amount": _where(incomplete, pa.scalar(None, pa.decimal128(18, 2)), amount),
            "vendor": pa.chunked_array(
                [charges.text, suppliers.text, _payment_texts(cards, payments)]
            ),
            "vendor_id": pa.chunked_array([vendor_ids, no_vendor]),
            "date": _instants(
                np.concatenate((charges.seconds, suppliers.seconds, _pay_seconds(payments)))
            ),
            "domain": pa.chunked_array(
                [_of(DOMAINS, domain), pa.array(["finance"] * len(paid), pa.string())]
            ),
            "currency": pa.array(["USD"] * len(amount), pa.string()),
        }
    )
    faults = random.permutation(len(charges))[: 2 * round(len(charges) * FAULT_SHARE)]
    forgotten, twice = np.split(faults, 2)
    copies = np.ones(len(amount), np.int64)
    copies[forgotten], copies[twice] = 0, 2
    whole = table.take(pa.array(np.repeat(np.arange(len(amount)), copies)))
    return whole.sort_by([("date", "ascending"), ("txn_id", "ascending")])


def _pay_seconds(payments: Payments) -> np.ndarray:
    return payments.day * 86_400 + 14 * 3_600


def _payment_texts(cards: Cards, payments: Payments) -> pa.Array:
    return _texts("CARD SVC AUTOPAY ", _numbers(cards.last4[payments.card], 4))


def _statement(
    random: np.random.Generator,
    vendors: Vendors,
    cards: Cards,
    charges: Charges,
    statement_cents: np.ndarray,
) -> pa.Table:
    count = len(charges)
    other_id = random.random(count) < OTHER_ID_SHARE
    ids = _where(other_id, _texts("st_", _numbers(np.arange(count), 8)), charges.ids)
    masked = _texts("**** **** **** ", _numbers(cards.last4[charges.card], 4))
    table = pa.table(
        {
            "txn_id": ids,
            "card_number": masked,
            "amount": _money(statement_cents),
            "vendor": charges.text,
            "date": _instants(charges.seconds),
            "category": _of(CATEGORIES, vendors.category[charges.vendor]),
            "cardholder": _of(cards.holders, charges.card),
            "currency": pa.array(["USD"] * count, pa.string()),
        }
    )
    return table.filter(pa.array(statement_cents != 0))


def _bank(
    random: np.random.Generator,
    cards: Cards,
    suppliers: Suppliers,
    payments: Payments,
    paid: np.ndarray,
    bank_ids: pa.Array,
) -> pa.Table:
    """One account that prints money out as negative; a few lines the ledger knows by another id."""
    cents = np.concatenate((suppliers.cents, paid))
    other_id = _faulty(random, len(cents)) & (np.arange(len(cents)) < len(suppliers))
    types = np.arange(len(cents)) >= len(suppliers)
    table = pa.table(
        {
            "txn_id": _where(other_id, _texts("bl_", _numbers(np.arange(len(cents)), 8)), bank_ids),
            "account_number": pa.array(["**** 7702"] * len(cents), pa.string()),
            "amount": _money(-cents),
            "payee": pa.chunked_array([suppliers.text, _payment_texts(cards, payments)]),
            "date": _instants(np.concatenate((suppliers.seconds, _pay_seconds(payments)))),
            "transaction_type": _of(("direct_debit", "card_payment"), types),
        }
    )
    return table.sort_by([("date", "ascending"), ("txn_id", "ascending")])


def _receipts(
    random: np.random.Generator, vendors: Vendors, cards: Cards, charges: Charges
) -> pa.Table:
    wanted = (charges.cents >= RECEIPT_FROM_CENTS) & (random.random(len(charges)) < RECEIPT_SHARE)
    at = np.flatnonzero(wanted)
    tipped = random.random(len(at)) < TIP_SHARE
    cents = charges.cents[at]
    ids = _ids("rc_", len(at))
    return pa.table(
        {
            "receipt_id": ids,
            "vendor": vendors.names.take(pa.array(charges.vendor[at])),
            "amount": _money(np.where(tipped, np.round(cents / 1.2).astype(np.int64), cents)),
            "date": _instants(charges.day[at] * 86_400),
            "cardholder": _of(cards.holders, charges.card[at]),
            "category": _of(CATEGORIES, vendors.category[charges.vendor[at]]),
            "file_path": _texts("receipts/", ids, ".pdf"),
        }
    )


def _master(vendors: Vendors) -> pa.Table:
    at = np.flatnonzero(vendors.is_listed)
    names = vendors.names.take(pa.array(at))
    aliases = pa.ListArray.from_arrays(pa.array(np.arange(len(at) + 1)), pc.utf8_upper(names))
    return pa.table(
        {"vendor_id": _texts("v", _numbers(at, 5)), "vendor_name": names, "aliases": aliases}
    )


def main() -> int:
    """Write a company as the command line asks."""
    parser = argparse.ArgumentParser(description="Write an invented company as Parquet files.")
    parser.add_argument("folder", type=Path)
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--days", type=int, default=365)
    parser.add_argument("--seed", type=int, default=SEED)
    asked = parser.parse_args()
    written = write_company(asked.folder, asked.rows, asked.days, asked.seed)
    sys.stdout.write(json.dumps(written) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
