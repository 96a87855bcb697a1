"""Unusual charges to put among the true ones of purchase cards, for the benchmark of `score`.

Eight kinds, about forty charges of each. The rows that they are made from stay as they are, and no
row serves twice. Phantoms are apart: charges that never were, and that suit their card.
"""

import datetime as dt
import random
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from audit_pipeline_tests.card_company import NAMES, TRADES

EACH = 40
"""Charges of each kind, about."""
LIMIT_CENTS = 100_000
"""What a card may pay at once: split charges stay below it."""
FAULT_CENTS_MIN = 5_000
"""Of what is repeated or slipped; the rest nobody would look for."""
SLIPPED_FROM_CENTS = 1_000
DUPLICATE_DAYS, NEAR_DAYS = 5, 6
SPIKE = (6.0, 20.0)
TAKEOVERS, PHANTOM_VENDORS = 5, 13
PHANTOMS = 320
HISTORY = 20
"""Charges that a card must have, for habits."""
WEEKEND_SHARE_MAX = 0.02
SATURDAY = 5
DAY = dt.timedelta(days=1)


@dataclass(frozen=True, slots=True)
class Charge:
    """What a card paid; `kind` is empty where that is as usual."""

    entity: str
    vendor: str
    category: str | None
    cents: int
    at: dt.datetime
    kind: str = ""


class _Cards:
    """True charges to start from, each once."""

    def __init__(self, charges: Sequence[Charge], chance: random.Random) -> None:
        self.charges, self.chance = charges, chance
        self.last = max(charge.at for charge in charges)
        self.of: dict[str, list[Charge]] = defaultdict(list)
        for charge in charges:
            self.of[charge.entity].append(charge)
        self.vendors = {card: {own.vendor for own in owns} for card, owns in self.of.items()}
        self.steady = sorted(card for card, owns in self.of.items() if len(owns) >= HISTORY)
        self._order = chance.sample(range(len(charges)), len(charges))
        self._new = [f"{name} {trade} ltd".lower() for name in NAMES for trade in TRADES]
        chance.shuffle(self._new)

    def take(self, wanted: int, cents_min: int = 0, cents_max: int = 10**9) -> list[Charge]:
        """Charges of such an amount, of cards with habits."""
        taken: list[Charge] = []
        left: list[int] = []
        while len(taken) < wanted:
            place = self._order.pop()
            charge = self.charges[place]
            fits = cents_min <= charge.cents <= cents_max
            if fits and len(self.of[charge.entity]) >= HISTORY and charge.at + 7 * DAY <= self.last:
                taken.append(charge)
            else:
                left.append(place)
        self._order = left + self._order
        return taken

    def cards(self, wanted: int) -> list[str]:
        return self.chance.sample(self.steady, wanted)

    def elsewhere(self, card: str) -> Charge:
        """A charge of another card at a vendor that this card never paid."""
        while True:
            charge = self.chance.choice(self.charges)
            if charge.vendor not in self.vendors[card]:
                return charge

    def new_vendor(self) -> str:
        return self._new.pop()


def injected(charges: Sequence[Charge], chance: random.Random) -> list[Charge]:
    """Charges of eight kinds to add to the true ones, in no order."""
    cards = _Cards(charges, chance)
    made: list[Charge] = []
    for make in (
        amount_spikes,
        decimal_slips,
        duplicates,
        near_duplicates,
        personal_weekends,
        phantom_vendors,
        card_takeovers,
        splits_below_limit,
    ):
        made += make(cards)
    return made


def amount_spikes(cards: _Cards) -> Iterable[Charge]:
    """A card pays a vendor of its own many times what it once did."""
    for charge in cards.take(EACH, 1_000):
        cents = round(charge.cents * cards.chance.uniform(*SPIKE))
        yield replace(_some_days_after(charge, cards), cents=cents, kind="amount_spike")


def decimal_slips(cards: _Cards) -> Iterable[Charge]:
    """The amount of an earlier charge, the point one place to the right, now and then two."""
    for charge in cards.take(EACH, SLIPPED_FROM_CENTS, LIMIT_CENTS // 2):
        factor = 10 if cards.chance.random() < 0.8 else 100
        slipped = replace(_some_days_after(charge, cards), cents=charge.cents * factor)
        yield replace(slipped, kind="decimal_slip")


def duplicates(cards: _Cards) -> Iterable[Charge]:
    """Card, vendor and amount of a charge again, within days."""
    for charge in cards.take(EACH, FAULT_CENTS_MIN):
        later = cards.chance.randint(0, DUPLICATE_DAYS) * DAY
        yield replace(charge, at=charge.at + later, kind="duplicate")


def near_duplicates(cards: _Cards) -> Iterable[Charge]:
    """The same, with two neighbouring digits of the amount transposed."""
    chance, made = cards.chance, 0
    while made < EACH:
        (charge,) = cards.take(1, FAULT_CENTS_MIN)
        if options := transposed(charge.cents):
            later = chance.randint(0, NEAR_DAYS) * DAY
            cents = chance.choice(options)
            yield replace(charge, cents=cents, at=charge.at + later, kind="near_duplicate")
            made += 1


def transposed(cents: int) -> list[int]:
    """Amounts of as many digits that differ by two neighbours which changed places."""
    digits = str(cents)
    swapped = (
        digits[:at] + digits[at + 1] + digits[at] + digits[at + 2 :]
        for at in range(len(digits) - 1)
        if digits[at] != digits[at + 1]
    )
    return [int(text) for text in swapped if text[0] != "0"]


def personal_weekends(cards: _Cards) -> Iterable[Charge]:
    """A card that is idle at weekends pays a shop that it never paid, on one."""

    def at_weekend(charge: Charge) -> bool:
        return charge.at.weekday() >= SATURDAY

    idle = [
        card
        for card in cards.steady
        if sum(map(at_weekend, cards.of[card])) <= WEEKEND_SHARE_MAX * len(cards.of[card])
    ]
    shops = [charge for charge in cards.charges if at_weekend(charge)]
    for card in cards.chance.sample(idle, min(EACH, len(idle))):
        day = cards.chance.choice(cards.of[card]).at
        shop = cards.chance.choice(shops)
        while shop.vendor in cards.vendors[card]:
            shop = cards.chance.choice(shops)
        day += (SATURDAY - day.weekday() + cards.chance.randint(0, 1)) * DAY
        yield replace(shop, entity=card, at=min(day, cards.last), kind="personal_weekend")


def phantom_vendors(cards: _Cards) -> Iterable[Charge]:
    """A vendor that nobody knew is paid by one card, about monthly, what is usual for the card."""
    chance = cards.chance
    for card in cards.cards(PHANTOM_VENDORS):
        vendor, times = cards.new_vendor(), chance.randint(2, 4)
        usual = chance.choice(
            [own for own in cards.of[card] if own.cents >= FAULT_CENTS_MIN // 2] or cards.of[card]
        )
        at = _working(chance.choice(cards.of[card]).at)
        for _ in range(times):
            cents = round(usual.cents * chance.uniform(0.95, 1.05))
            if at <= cards.last:
                yield replace(usual, vendor=vendor, cents=cents, at=at, kind="phantom_vendor")
            at = _working(at + chance.randint(20, 40) * DAY)


def card_takeovers(cards: _Cards) -> Iterable[Charge]:
    """Within two days a card pays vendors that are all new to it, what others pay there."""
    for card in cards.cards(TAKEOVERS):
        day = cards.chance.choice(cards.of[card]).at
        vendors: set[str] = set()
        while len(vendors) < EACH // TAKEOVERS:
            other = cards.elsewhere(card)
            if other.vendor not in vendors:
                vendors.add(other.vendor)
                at = min(day + cards.chance.randint(0, 1) * DAY, cards.last)
                yield replace(other, entity=card, at=at, kind="card_takeover")


def splits_below_limit(cards: _Cards) -> Iterable[Charge]:
    """A purchase above the card's limit in two to four charges below it, within a day or two."""
    chance, made = cards.chance, 0
    while made < EACH:
        (first,) = cards.take(1, LIMIT_CENTS // 10)
        for _ in range(chance.randint(2, 4)):
            cents = round(LIMIT_CENTS * chance.uniform(0.8, 0.999))
            at = first.at + chance.randint(0, 1) * DAY
            yield replace(first, cents=cents, at=at, kind="split_below_limit")
            made += 1


def phantoms(charges: Sequence[Charge], chance: random.Random) -> list[Charge]:
    """Charges that were never made: a card's own vendor, about what it pays, on another day."""
    cards = _Cards(charges, chance)
    made: list[Charge] = []
    for charge in cards.take(PHANTOMS):
        day = chance.choice(cards.of[charge.entity]).at
        cents = max(1, round(charge.cents * chance.uniform(0.9, 1.1)))
        made.append(replace(charge, cents=cents, at=day, kind="phantom"))
    return made


def _some_days_after(charge: Charge, cards: _Cards) -> Charge:
    """On a working day of the next months, or on the last."""
    at = _working(charge.at + cards.chance.randint(8, 90) * DAY)
    return replace(charge, at=min(at, cards.last))


def _working(at: dt.datetime) -> dt.datetime:
    return at + max(0, 7 - at.weekday()) * DAY if at.weekday() >= SATURDAY else at
