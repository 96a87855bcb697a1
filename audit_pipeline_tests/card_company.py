"""An invented company that pays by card: gold tables with known faults, seeded, for the benchmark.

Each card has vendors that it returns to, each vendor its own usual amount. A statement line is a
ledger charge once more: with the ledger's id on the first card; on the others under the issuer's
id, posted up to two days later, the descriptor cut. One bank line a month pays each statement.
Every payment of a month with faults leaves one or two charges out. No fault is put on the first
month, which is what the company knows of itself, nor on the last two, in which the last statements
are paid.
"""

import datetime as dt
import json
import math
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

FIRST_ON = dt.date(2025, 1, 1)
CARDS = 3
MONTHS = 6
"""With faults in them."""
CHARGES = 60
"""Of each card in each month."""
HABITS = 14
"""Vendors that a card returns to; four charges in five are there."""
HABIT_SHARE = 0.8
OTHER_VENDORS = 250
PRICED_SHARE = 0.08
"""Vendors that sell at a few prices, so that an honest charge may repeat another one."""
SUBSCRIPTIONS = 4
"""Of each card: the same amount on the same day of every month."""
REFUND_SHARE = 0.01
DUPLICATES, MISSING = 2, 2
"""Of each card in each month."""
DESCRIPTOR_LETTERS = 22
"""Where many issuers cut a descriptor."""
NAMES = """
Alder Amber Aspen Beacon Birch Bramble Cedar Cinder Clover Copper Coral Drift Ember Falcon Fern
Garnet Glacier Harbor Hazel Heron Indigo Ivory Juniper Kestrel Larch Linden Lunar Maple Meadow
Nimbus Onyx Orchard Osprey Pebble Prairie Quartz Raven Saffron Sierra Slate Summit Timber Willow
""".split()
TRADES = """
Airways Analytics Bakery Bistro Books Catering Cloud Coffee Couriers Diner Electric Events Florist
Freight Fuels Garage Grill Hardware Hosting Hotels Legal Lighting Logistics Media Motors Packaging
Parking Pharmacy Printing Rail Rentals Security Software Staffing Studio Supply Telecom Tools
""".split()
HOLDERS = "Ana Birch,Ben Cole,Cleo Dane,Dora East,Emil Frost,Fay Grove,Gus Hale".split(",")
FORMS = ("{}", "{}", "SQ *{}", "{} #{n:04}", "{}.COM/BILL")


@dataclass(frozen=True)
class Vendor:
    """Where a card is charged; `prices` is empty where any amount may occur."""

    descriptor: str
    log_cents: float
    sigma: float
    prices: tuple[int, ...]


@dataclass(frozen=True)
class Charge:
    """One ledger entry of a card.

    Attributes:
        posted_on: the day that its statement shows.
        kind: `normal`, `duplicate`, `missing` (on no statement), `unsettled` (in no payment).
    """

    txn_id: str
    card: int
    vendor: str
    cents: int
    at: dt.datetime
    posted_on: dt.date
    kind: str = "normal"


@dataclass
class CardCompany:
    """Its charges in the order of time, and its cards; tables are made of them.

    Attributes:
        last4: the card's last digits; closes_on: the day of the month on which it closes.
    """

    charges: list[Charge] = field(default_factory=list[Charge])
    last4: list[str] = field(default_factory=list[str])
    closes_on: list[int] = field(default_factory=list[int])
    holders: list[str] = field(default_factory=list[str])
    first_on: dt.date = FIRST_ON
    last_on: dt.date = FIRST_ON

    def truth(self) -> dict[str, list[str]]:
        """Kind of fault → ids of the ledger entries that have it."""
        kinds = ("duplicate", "missing", "unsettled")
        return {kind: sorted(c.txn_id for c in self.charges if c.kind == kind) for kind in kinds}

    def line_id(self, charge: Charge) -> str:
        """What the statement calls the charge."""
        return charge.txn_id if charge.card == 0 else f"st_{charge.txn_id[3:][::-1]}"

    def ledger(self) -> Iterable[dict[str, object]]:
        """`recent_transactions`."""
        for charge in self.charges:
            if self.first_on <= charge.at.date() <= self.last_on:
                yield {
                    "txn_id": charge.txn_id,
                    "source": "credit_card",
                    "amount": charge.cents / 100,
                    "vendor": charge.vendor,
                    "date": f"{charge.at:%Y-%m-%dT%H:%M:%SZ}",
                }

    def statement_lines(self) -> Iterable[dict[str, object]]:
        """`credit_cards`."""
        for charge in self.charges:
            if charge.kind == "missing" or not self.first_on <= charge.posted_on <= self.last_on:
                continue
            first = charge.card == 0
            text = charge.vendor if first else charge.vendor[:DESCRIPTOR_LETTERS].strip()
            same_day = charge.posted_on == charge.at.date()
            at = charge.at if same_day else dt.datetime.combine(charge.posted_on, dt.time())
            yield {
                "txn_id": self.line_id(charge),
                "card_number": f"**** **** **** {self.last4[charge.card]}",
                "amount": charge.cents / 100,
                "vendor": text,
                "date": f"{at:%Y-%m-%dT%H:%M:%SZ}",
                "cardholder": self.holders[charge.card],
            }

    def bank_lines(self) -> Iterable[dict[str, object]]:
        """`bank_accounts`: one payment for each statement, three weeks after it closed."""
        totals: dict[tuple[dt.date, int], int] = defaultdict(int)
        for charge in self.charges:
            if charge.kind not in ("missing", "unsettled"):
                totals[self.statement_of(charge)] += charge.cents
        for (closed, card), cents in sorted(totals.items()):
            paid_on = _working_day(closed + dt.timedelta(days=21))
            if self.first_on <= paid_on <= self.last_on:
                yield {
                    "txn_id": f"bk_{closed:%y%m%d}{card}",
                    "account_number": "**** 4417",
                    "amount": -cents / 100,
                    "payee": f"CARD SERVICES AUTOPAY {self.last4[card]}",
                    "date": f"{paid_on}T14:00:00Z",
                    "transaction_type": "card_payment",
                }

    def statement_of(self, charge: Charge) -> tuple[dt.date, int]:
        """The day its statement closes, and the card."""
        closes = charge.posted_on.replace(day=self.closes_on[charge.card])
        if closes < charge.posted_on:
            closes = (closes.replace(day=1) + dt.timedelta(days=32)).replace(day=closes.day)
        return closes, charge.card

    def write(self, folder: Path) -> None:
        """A fixture folder."""
        folder.mkdir(parents=True)
        for table, rows in (
            ("recent_transactions", self.ledger()),
            ("credit_cards", self.statement_lines()),
            ("bank_accounts", self.bank_lines()),
        ):
            lines = [json.dumps(row, separators=(",", ":")) + "\n" for row in rows]
            (folder / f"{table}.jsonl").write_text("".join(lines))
        about = {"name": "card company", "audit_from": str(self.first_on)}
        (folder / "about.json").write_text(json.dumps({**about, "audit_to": str(self.last_on)}))


def make(
    seed: int,
    *,
    cards: int = CARDS,
    months: int = MONTHS,
    charges: int = CHARGES,
) -> CardCompany:
    """A company; the same arguments give the same rows.

    Args:
        seed: of everything.
        cards: how many; each with its own habits.
        months: with faults in them.
        charges: of each card in each month.
    """
    chance = random.Random(seed)
    shop = _Shop(chance)
    last_on = _month(months + 3) - dt.timedelta(days=1)
    company = CardCompany(last_on=last_on)
    company.last4 = [f"{n:04}" for n in chance.sample(range(1000, 10000), cards)]
    company.closes_on = [chance.randint(1, 28) for _ in range(cards)]
    company.holders = chance.sample(HOLDERS, cards)
    for card in range(cards):
        company.charges += _charges_of(card, shop, months, charges)
    planted = _Planted(company, chance, months)
    for card in range(cards):
        planted.duplicates(card)
        planted.missing(card)
        planted.unsettled(card)
    company.charges.sort(key=lambda charge: charge.at)
    company.charges = _named(company.charges, chance)
    return company


class _Shop:
    """Vendors as they are needed; no two of the same name."""

    def __init__(self, chance: random.Random) -> None:
        self.chance = chance
        self._names = [f"{name} {trade}" for name in NAMES for trade in TRADES]
        chance.shuffle(self._names)
        self.others = [self.vendor() for _ in range(OTHER_VENDORS)]

    def vendor(self) -> Vendor:
        chance, name = self.chance, self._names.pop().upper()
        log_cents = chance.gauss(math.log(6_000), 1)
        sigma = chance.uniform(0.2, 0.7)
        prices: tuple[int, ...] = ()
        if chance.random() < PRICED_SHARE:
            prices = tuple(_drawn(chance, log_cents, sigma) for _ in range(5))
        form = chance.choice(FORMS)
        return Vendor(form.format(name, n=chance.randrange(10**4)), log_cents, sigma, prices)

    def cents(self, vendor: Vendor) -> int:
        if vendor.prices:
            return self.chance.choice(vendor.prices)
        return _drawn(self.chance, vendor.log_cents, vendor.sigma)


def _drawn(chance: random.Random, log_cents: float, sigma: float) -> int:
    return max(100, round(chance.lognormvariate(log_cents, sigma)))


def _charges_of(card: int, shop: _Shop, months: int, charges: int) -> list[Charge]:
    """All charges of a card, from the month before the data: its first statement began there."""
    chance = shop.chance
    habits = [shop.vendor() for _ in range(HABITS)]
    weights = [1 / (place + 1) for place in range(HABITS)]
    monthly = [(shop.vendor(), chance.randint(1, 28)) for _ in range(SUBSCRIPTIONS)]
    fees = [shop.cents(vendor) for vendor, _ in monthly]
    made: list[Charge] = []
    for month in range(-1, months + 3):
        first = _month(month)
        for (vendor, day), cents in zip(monthly, fees, strict=True):
            made.append(_charge(chance, card, vendor, cents, first.replace(day=day)))
        for _ in range(charges - SUBSCRIPTIONS):
            if chance.random() < HABIT_SHARE:
                (vendor,) = chance.choices(habits, weights)
            else:
                vendor = chance.choice(shop.others)
            refund = -1 if chance.random() < REFUND_SHARE else 1
            day = first + dt.timedelta(days=chance.randrange((_month(month + 1) - first).days))
            if day.weekday() >= 5 and chance.random() < 0.7:
                day = min(_working_day(day), _month(month + 1) - dt.timedelta(days=1))
            made.append(_charge(chance, card, vendor, refund * shop.cents(vendor), day))
    return made


def _charge(chance: random.Random, card: int, vendor: Vendor, cents: int, day: dt.date) -> Charge:
    at = dt.datetime.combine(day, dt.time()) + dt.timedelta(seconds=chance.randint(25_000, 80_000))
    lag = 0 if card == 0 else chance.choice((0, 1, 1, 2))
    return Charge("", card, vendor.descriptor, cents, at, day + dt.timedelta(days=lag))


class _Planted:
    """Faults, each on a charge that has none yet, drawn evenly from the normal ones."""

    def __init__(self, company: CardCompany, chance: random.Random, months: int) -> None:
        self.company, self.chance, self.months = company, chance, months

    def _draw(self, wanted: int, card: int, days: Sequence[dt.date], *, posted: bool) -> list[int]:
        """Places of normal charges of the card, by the day they were posted, or made."""
        places = [
            place
            for place, charge in enumerate(self.company.charges)
            if charge.card == card
            and charge.kind == "normal"
            and charge.cents > 0
            and days[0] < (charge.posted_on if posted else charge.at.date()) <= days[1]
        ]
        return self.chance.sample(places, wanted)

    def _months(self) -> Iterable[tuple[dt.date, dt.date]]:
        """The day before each month that has faults, and its last."""
        day = dt.timedelta(days=1)
        return ((_month(m) - day, _month(m + 1) - day) for m in range(1, self.months + 1))

    def _mark(self, place: int, kind: str) -> None:
        self.company.charges[place] = replace(self.company.charges[place], kind=kind)

    def duplicates(self, card: int) -> None:
        """The same amount at the same vendor again, later that day or on the next."""
        for days in self._months():
            for place in self._draw(DUPLICATES, card, days, posted=False):
                first = self.company.charges[place]
                later = dt.timedelta(days=1) if self.chance.random() < 0.5 else dt.timedelta()
                later += dt.timedelta(seconds=self.chance.randint(60, 6_000))
                posted_on = first.posted_on + dt.timedelta(days=later.days)
                again = replace(first, at=first.at + later, posted_on=posted_on, kind="duplicate")
                self.company.charges.append(again)
                # Neither of the two gets a second fault.
                self._mark(place, "duplicated")

    def missing(self, card: int) -> None:
        """On no statement, and so in no payment."""
        for days in self._months():
            for place in self._draw(MISSING, card, days, posted=False):
                self._mark(place, "missing")

    def unsettled(self, card: int) -> None:
        """On the statement, but its payment leaves one or two out, and so do all later ones."""
        closes = dt.timedelta(days=self.company.closes_on[card] - 1)
        # The first whole statement of a card closes in the second month, and is paid in full.
        for month in range(2, self.months + 2):
            days = _month(month - 1) + closes, _month(month) + closes
            for place in self._draw(self.chance.randint(1, 2), card, days, posted=True):
                self._mark(place, "unsettled")


def _named(charges: Sequence[Charge], chance: random.Random) -> list[Charge]:
    """With ids that say nothing of the order in which the charges were made up."""
    numbers = chance.sample(range(100_000, 1_000_000), len(charges))
    return [replace(c, txn_id=f"cc_{n}") for c, n in zip(charges, numbers, strict=True)]


def _month(number: int) -> dt.date:
    """The first day of a month, counted from that of FIRST_ON."""
    years, month = divmod(FIRST_ON.month - 1 + number, 12)
    return FIRST_ON.replace(year=FIRST_ON.year + years, month=month + 1)


def _working_day(day: dt.date) -> dt.date:
    return day + dt.timedelta(days=max(0, 7 - day.weekday()) if day.weekday() >= 5 else 0)
