"""Cards with habits, and bursts of fraud on some of them, simulated for the benchmark of `score`.

Each card prefers some categories, has its own vendors in them, its own hours, which it does not
always keep, and its own level of spending; each category has its hours and its amounts. A fraud is
a burst within two days, most of it at night, at any vendors, mostly in the categories that thieves
like, of amounts that are not usual in their category but much like each other.
"""

import datetime as dt
import itertools
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass

from audit_pipeline_tests.anomaly_faults import Charge
from audit_pipeline_tests.card_company import NAMES, TRADES

FIRST_ON = dt.date(2023, 1, 2)
DAYS = 540
CARDS = 200
CHARGES = 150_000
FRAUD_SHARE = 0.006
BURST = (6, 13)
BURST_DAYS = 2
ANY_HOUR_SHARE = 0.3
"""Honest charges at no hour of habit: at night too."""
NIGHT_SHARE = 0.75
NIGHT_HOURS = (22, 23, 0, 1, 2, 3)
FAVOURITES = 6
"""Vendors of a card in each category; three of four charges are there."""
FAVOURITE_SHARE = 0.75
VENDORS = 36
"""Of each category."""


@dataclass(frozen=True)
class Category:
    """What is bought there.

    Attributes:
        usual: median amount; spread: standard deviation of its logarithm.
        hour: about which charges lie, within hours.
        stolen: median amount of a fraud; liked: weight of it among thieves.
    """

    name: str
    weight: float
    usual: float
    spread: float
    hour: float
    hours: float
    stolen: float
    liked: float


CATEGORIES = (
    Category("groceries", 11, 62, 0.7, 15, 4.0, 290, 4),
    Category("groceries online", 4, 55, 0.5, 13, 6.0, 12, 1),
    Category("fuel", 9, 48, 0.45, 12, 5.0, 9, 4),
    Category("restaurants", 8, 34, 0.7, 17, 4.0, 130, 1),
    Category("shopping", 9, 28, 1.2, 15, 3.0, 780, 4),
    Category("shopping online", 8, 24, 1.2, 16, 6.0, 940, 8),
    Category("household", 8, 40, 0.9, 14, 4.0, 240, 1),
    Category("pets", 5, 38, 0.7, 14, 4.0, 18, 1),
    Category("health", 5, 36, 0.8, 13, 4.0, 21, 1),
    Category("personal care", 5, 26, 0.8, 14, 4.0, 20, 1),
    Category("entertainment", 6, 30, 0.9, 18, 4.0, 420, 1),
    Category("subscriptions", 4, 13, 0.6, 12, 7.0, 690, 3),
    Category("sundries", 5, 16, 1.1, 14, 5.0, 8, 1),
    Category("travel", 2, 70, 1.3, 13, 5.0, 11, 1),
)
STOLEN_SPREAD = 0.25


@dataclass(frozen=True)
class _Card:
    name: str
    active: float
    level: float
    """Added to the logarithm of each amount."""
    hours_later: float
    weights: Sequence[float]
    vendors: Sequence[Sequence[str]]


def make(seed: int, *, cards: int = CARDS, charges: int = CHARGES) -> list[Charge]:
    """Charges in no order; the same arguments give the same.

    Args:
        seed: of everything.
        cards: how many.
        charges: of all cards together, fraud and all.
    """
    chance = random.Random(seed)
    shops = _shops(chance)
    holders = [_holder(chance, number, shops) for number in range(cards)]
    frauds = round(charges * FRAUD_SHARE)
    weights = list(itertools.accumulate(card.active for card in holders))
    drawn = chance.choices(holders, cum_weights=weights, k=charges - frauds)
    made = [_usual(chance, card, shops) for card in drawn]
    while len(made) < charges:
        made += _burst(chance, chance.choice(holders), shops)[: charges - len(made)]
    return made


def _shops(chance: random.Random) -> list[list[str]]:
    """Vendors of each category; some also sell in a second one."""
    names = [f"{name} {trade}" for name in NAMES for trade in TRADES]
    chance.shuffle(names)
    shops = [[names.pop() for _ in range(VENDORS)] for _ in CATEGORIES]
    for own in shops:
        own.append(chance.choice(chance.choice(shops)))
    return shops


def _holder(chance: random.Random, number: int, shops: Sequence[Sequence[str]]) -> _Card:
    return _Card(
        name=f"card {number:03}",
        active=chance.lognormvariate(0, 0.7),
        level=chance.gauss(0, 0.35),
        hours_later=chance.gauss(0, 1.5),
        weights=[one.weight * chance.lognormvariate(0, 0.7) for one in CATEGORIES],
        vendors=[chance.sample(own, FAVOURITES) for own in shops],
    )


def _usual(chance: random.Random, card: _Card, shops: Sequence[Sequence[str]]) -> Charge:
    (at,) = chance.choices(range(len(CATEGORIES)), card.weights)
    category = CATEGORIES[at]
    own = chance.random() < FAVOURITE_SHARE
    # The first of its own vendors is the one that it visits most.
    vendor = card.vendors[at][int(FAVOURITES * chance.random() ** 1.7)] if own else ""
    hour = chance.gauss(category.hour + card.hours_later, category.hours)
    if chance.random() < ANY_HOUR_SHARE:
        hour = chance.uniform(0, 24)
    day = chance.randrange(DAYS)
    if chance.random() < 0.25:
        # Weekends are busier.
        day += (5 - (FIRST_ON + dt.timedelta(days=day)).weekday()) % 7
    return Charge(
        card.name,
        vendor or chance.choice(shops[at]),
        category.name,
        _cents(chance, category.usual, card.level, category.spread),
        _at(min(day, DAYS - 1), hour % 24),
    )


def _burst(chance: random.Random, card: _Card, shops: Sequence[Sequence[str]]) -> list[Charge]:
    first = chance.randrange(DAYS - BURST_DAYS)
    liked = [one.liked for one in CATEGORIES]
    made: list[Charge] = []
    for _ in range(chance.randint(*BURST)):
        (at,) = chance.choices(range(len(CATEGORIES)), liked)
        category = CATEGORIES[at]
        night = chance.random() < NIGHT_SHARE
        hour = (chance.choice(NIGHT_HOURS) if night else chance.randint(4, 21)) + chance.random()
        day = first + chance.randrange(BURST_DAYS)
        cents = _cents(chance, category.stolen, 0, STOLEN_SPREAD)
        vendor = chance.choice(shops[at])
        made.append(Charge(card.name, vendor, category.name, cents, _at(day, hour), "fraud"))
    return made


def _cents(chance: random.Random, usual: float, level: float, spread: float) -> int:
    return max(100, round(100 * chance.lognormvariate(math.log(usual) + level, spread)))


def _at(day: int, hour: float) -> dt.datetime:
    midnight = dt.datetime.combine(FIRST_ON + dt.timedelta(days=day), dt.time())
    return midnight + dt.timedelta(seconds=int(hour * 3_600))
