"""The scores of charges in plain Python: loops over lists, no SQL. What the tests compare with.

Slow on purpose: every number of a charge is made by looking at all other charges.
"""

import datetime as dt
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property

SHRINK = 10
SIGMA = 1.4826
DAY = dt.timedelta(days=1)

AMOUNT = ("amount_category", "amount_vendor", "amount_entity", "amount_pair")
SIZE = ("tail_company", "tail_category", "tail_vendor", "tail_entity")
PATTERNS = (
    *("duplicate", "near_duplicate", "decimal_slip", "split", "below_limit", "round_amount"),
)
ASPECTS = (
    AMOUNT,
    SIZE,
    ("category_entity", "category_vendor"),
    ("pair_new", "vendor_rare", "vendor_new"),
    ("hour_category", "hour_entity"),
    ("weekday_entity", "weekday_vendor"),
    ("velocity", "spent", "new_vendors"),
    PATTERNS,
)

Bits = dict[str, float]


@dataclass(frozen=True)
class Charge:
    """A charge; `known` where it belongs to the history that others are compared with."""

    id: int
    entity: str
    vendor: str
    category: str
    cents: int
    made_at: dt.datetime
    known: bool = True

    @property
    def log_amount(self) -> float:
        return math.log(max(abs(self.cents), 1) / 100)

    @property
    def bin(self) -> int:
        return math.floor(self.log_amount * 4)

    @property
    def ends_month(self) -> bool:
        """On the last two days of a month, or the first of the next."""
        return self.day.day == 1 or (self.day + 2 * DAY).month != self.day.month

    @property
    def day(self) -> dt.date:
        return self.made_at.date()


def quantile(values: Iterable[float], share: float) -> float:
    """Between the two nearest values, in a straight line; 0 of none."""
    ordered = sorted(values)
    if not ordered:
        return 0.0
    place = share * (len(ordered) - 1)
    low = math.floor(place)
    high = min(low + 1, len(ordered) - 1)
    return ordered[low] + (ordered[high] - ordered[low]) * (place - low)


@dataclass(frozen=True)
class Level:
    """What is usual."""

    middle: float
    spread: float


def level(values: Sequence[float], spread_min: float) -> Level:
    spread = (quantile(values, 0.75) - quantile(values, 0.25)) / 2
    return Level(quantile(values, 0.5), max(spread, spread_min))


def leaning(own: float, others: float, wider: float, shrink: float) -> float:
    """A number of `others` charges that leans on that of a wider level."""
    return (others * own + shrink * wider) / (others + shrink)


def sigmas(value: float, own: Level, others: float, wider: Level, shrink: float) -> float:
    middle = leaning(own.middle, others, wider.middle, shrink)
    variance = leaning(own.spread**2, others, wider.spread**2, shrink)
    return (value - middle) / (SIGMA * math.sqrt(variance))


def student(distance: float) -> float:
    return 2.5 * math.log2(1 + distance**2 / 4)


def either(distance: float) -> float:
    return student(distance) * (0.6 if distance < 0 else 1)


def share_bits(found: float, of: float, wider: float, shrink: float) -> float:
    return -math.log2((found + shrink * wider) / (of + shrink))


@dataclass(frozen=True)
class Books:
    """Charges, and what each of them says: `timeline` are all, `known` those of history."""

    timeline: Sequence[Charge]
    ahead: bool
    limit: int

    @cached_property
    def known(self) -> list[Charge]:
        return [charge for charge in self.timeline if charge.known]

    def near(self, charge: Charge, days: int) -> list[Charge]:
        """All of the entity's within so many days, itself among them; later ones if seen."""
        end = charge.made_at + (days * DAY if self.ahead else 0 * DAY)
        return [
            other
            for other in self.timeline
            if other.entity == charge.entity and charge.made_at - days * DAY <= other.made_at <= end
        ]

    def seen(self, charge: Charge) -> list[Charge]:
        """Everything that is not later, or everything."""
        return [c for c in self.timeline if self.ahead or c.made_at <= charge.made_at]

    def novel(self, charge: Charge) -> bool:
        """Whether the entity pays the vendor for the first time, or this once only."""
        pair = [c for c in self.timeline if (c.entity, c.vendor) == (charge.entity, charge.vendor)]
        if self.ahead:
            return len(pair) == 1
        return not any((c.made_at, c.id) < (charge.made_at, charge.id) for c in pair)

    def vendor_first_on(self, charge: Charge) -> dt.date:
        return min(c.day for c in self.seen(charge) if c.vendor == charge.vendor)

    # ── what is usual ──

    @cached_property
    def company(self) -> Level:
        return level([c.log_amount for c in self.known], 0.05)

    @cached_property
    def days(self) -> int:
        days = [c.day for c in self.known]
        return max((max(days) - min(days)).days, 1) if days else 1

    @cached_property
    def timed(self) -> bool:
        times = [c.made_at.time() != dt.time() for c in self.known]
        return bool(times) and sum(times) / len(times) > 0.01

    @cached_property
    def categories(self) -> dict[str, Level]:
        found: dict[str, Level] = {}
        for name in {c.category for c in self.timeline}:
            logs = [c.log_amount for c in self.known if c.category == name]
            own = level(logs, 0.05)
            variance = leaning(own.spread**2, len(logs), self.company.spread**2, SHRINK)
            found[name] = Level(
                leaning(own.middle, len(logs), self.company.middle, SHRINK), math.sqrt(variance)
            )
        return found

    def log_spent(self, charge: Charge) -> float:
        return math.log(max(sum(abs(c.cents) for c in self.near(charge, 1)), 1) / 100)

    @cached_property
    def spent(self) -> dict[int, float]:
        """Charge of history → what its entity spends around it."""
        return {c.id: self.log_spent(c) for c in self.known}

    def novelty(self, entity: str) -> float:
        """How often an entity's vendor is one that it pays once only."""
        pairs = Counter((c.entity, c.vendor) for c in self.known)
        once = [pair for pair, charges in pairs.items() if charges == 1]
        company = (len(once) + 1) / (len(self.known) + 2)
        own = [pair for pair in once if pair[0] == entity]
        charges = [c for c in self.known if c.entity == entity]
        return (len(own) + SHRINK * company) / (len(charges) + SHRINK)

    # ── the signals ──

    def signals(self, charge: Charge) -> Bits:
        return {
            **self._amounts(charge),
            **self._sizes(charge),
            **self._categories(charge),
            **self._vendors(charge),
            **self._clock(charge),
            **self._pace(charge),
            **{name: self.pattern_bits(charge, name) for name in PATTERNS},
        }

    def _others(self, charge: Charge, *keys: str) -> list[Charge]:
        """The rest of history that has the charge's keys."""
        return [
            c
            for c in self.known
            if c.id != charge.id and all(getattr(c, key) == getattr(charge, key) for key in keys)
        ]

    def _of(self, charge: Charge, *keys: str) -> list[Charge]:
        """The same with the charge itself, if it is of history."""
        return self._others(charge, *keys) + ([charge] if charge.known else [])

    def _amounts(self, charge: Charge) -> Bits:
        log_amount, category = charge.log_amount, self.categories[charge.category]

        def usual(*keys: str) -> tuple[int, Level]:
            logs = [c.log_amount for c in self._of(charge, *keys)]
            return len(self._others(charge, *keys)), level(logs, 0.02)

        vendor_others, vendor = usual("vendor")
        pair_others, pair = usual("entity", "vendor")
        entity_others = len(self._others(charge, "entity"))
        beyond = level(
            [c.log_amount - self.categories[c.category].middle for c in self._of(charge, "entity")],
            0.05,
        )
        entity = Level(category.middle + beyond.middle, beyond.spread)
        at_vendor = Level(
            leaning(vendor.middle, vendor_others, category.middle, SHRINK), category.spread
        )
        return {
            "amount_category": either((log_amount - category.middle) / (SIGMA * category.spread)),
            "amount_vendor": either(sigmas(log_amount, vendor, vendor_others, category, SHRINK)),
            "amount_entity": either(sigmas(log_amount, entity, entity_others, category, SHRINK)),
            "amount_pair": either(sigmas(log_amount, pair, pair_others, at_vendor, SHRINK / 2)),
        }

    def _company_share(self, found: int) -> float:
        return max(found, 0.5) / max(len(self.known), 1)

    def _sizes(self, charge: Charge) -> Bits:
        def larger(charges: Sequence[Charge]) -> int:
            return sum(c.bin >= charge.bin for c in charges)

        def bits(key: str, wider: float) -> float:
            others = self._others(charge, key)
            return share_bits(larger(others), len(others), wider, SHRINK)

        company = self._company_share(larger(self.known))
        category = 2 ** -bits("category", company)
        return {
            "tail_company": -math.log2(company),
            "tail_category": bits("category", company),
            "tail_vendor": bits("vendor", category),
            "tail_entity": bits("entity", category),
        }

    def _categories(self, charge: Charge) -> Bits:
        wider = (len(self._others(charge, "category")) + 0.5) / max(len(self._others(charge)), 1)
        return {
            f"category_{key}": share_bits(
                len(self._others(charge, key, "category")),
                len(self._others(charge, key)),
                wider,
                SHRINK / 2,
            )
            for key in ("entity", "vendor")
        }

    def _vendors(self, charge: Charge) -> Bits:
        age = (charge.day - self.vendor_first_on(charge)).days
        first_on = min((c.day for c in self.known), default=charge.day)
        late = (charge.day - first_on).days > 0.2 * self.days
        at_vendor = len(self._others(charge, "vendor")) + 0.5
        return {
            "pair_new": -math.log2(self.novelty(charge.entity)) if self.novel(charge) else 0.0,
            "vendor_rare": -math.log2(at_vendor / max(len(self._others(charge)), 1)),
            "vendor_new": -math.log2(min((age + 1) / (self.days + 1), 1)) if late else 0.0,
        }

    def _clock(self, charge: Charge) -> Bits:
        def bits(key: str, same: Mapping[int, bool]) -> float:
            others = self._others(charge, key)
            wider = self._company_share(sum(same[c.id] for c in self.known))
            return share_bits(sum(same[c.id] for c in others), len(others), wider, 2 * SHRINK)

        hour = {c.id: c.made_at.hour == charge.made_at.hour for c in self.known}
        weekday = {c.id: c.day.weekday() == charge.day.weekday() for c in self.known}
        return {
            "hour_category": bits("category", hour) if self.timed else 0.0,
            "hour_entity": bits("entity", hour) if self.timed else 0.0,
            "weekday_entity": bits("entity", weekday),
            "weekday_vendor": bits("vendor", weekday),
        }

    def usual_a_day(self, charge: Charge) -> float:
        """How many charges the entity would make on such a day, the charge left out."""
        others, known = self._others(charge, "entity"), self.known
        ends = sum(c.ends_month for c in others)
        company = max(sum(c.ends_month for c in known), 0.5) / max(len(known), 1)
        share = (ends + SHRINK * company) / (len(others) + SHRINK)
        days = {c.day: c.ends_month for c in known}
        of_days = min(max(sum(days.values()) / max(len(days), 1), 0.01), 0.99)
        habit = share / of_days if charge.ends_month else (1 - share) / (1 - of_days)
        a_day = max(len(known), 1) / max(len(days), 1)
        month = [c for c in known if c.day.month == charge.day.month]
        days_of_month = len({c.day for c in month})
        season = (len(month) + 10 * a_day) / (days_of_month + 10) / a_day
        return len(others) / self.days * habit * season

    def end_beyond(self, charge: Charge, usual: Level) -> float:
        """How much more than usual the entity spends in a day that ends a month."""
        ends = [self.spent[c.id] for c in self._of(charge, "entity") if c.ends_month]
        mean = sum(ends) / len(ends) if ends else usual.middle
        return len(ends) * (mean - usual.middle) / (len(ends) + SHRINK)

    def _pace(self, charge: Charge) -> Bits:
        near, others = self.near(charge, 1), len(self._others(charge, "entity"))
        usual = (2 if self.ahead else 1) * self.usual_a_day(charge)
        own = level([self.spent[c.id] for c in self._of(charge, "entity")], 0.1)
        company = level(list(self.spent.values()), 0.1)
        beyond = self.end_beyond(charge, own) if charge.ends_month else 0.0
        spent = sigmas(self.log_spent(charge) - beyond, own, others, company, SHRINK)
        novel = sum(self.novel(c) for c in near)
        mean = math.exp(self.log_spent(charge)) / len(near)
        fair = 1 if self.ahead else min(math.exp(charge.log_amount) / mean, 1)
        rare = -math.log2(max(self.novelty(charge.entity), 1e-4))
        return {
            "velocity": student(max((len(near) - 1 - usual) / math.sqrt(usual + 0.5), 0)),
            "spent": student(max(spent, 0)) * fair,
            "new_vendors": (novel - 1) * rare if novel >= 2 else 0.0,
        }

    # ── the patterns ──

    def parts(self, charge: Charge) -> list[int]:
        """Amounts below the limit, but not far, that the pair charges within two days."""
        return [
            c.cents
            for c in self.near(charge, 2)
            if c.vendor == charge.vendor and self.limit < 10 * c.cents < 10 * self.limit
        ]

    def shows(self, charge: Charge, name: str) -> bool:
        cents, limit = charge.cents, self.limit
        week = [c for c in self.near(charge, 7) if c.vendor == charge.vendor]
        match name:
            case "duplicate":
                return cents >= 1_000 and any(
                    c.cents == cents
                    and c.id != charge.id
                    # Of two in the same moment, the one with the higher id repeats the other.
                    and (self.ahead or (c.made_at, c.id) < (charge.made_at, charge.id))
                    for c in week
                )
            case "near_duplicate":
                return cents >= 1_000 and any(
                    c.cents != cents and sorted(str(c.cents)) == sorted(str(cents)) for c in week
                )
            case "decimal_slip":
                return cents >= 10_000 and any(
                    0 < c.cents * 10 <= cents
                    and c.vendor == charge.vendor
                    and str(c.cents).rstrip("0") == str(cents).rstrip("0")
                    for c in self.seen(charge)
                )
            case "split":
                parts = self.parts(charge)
                few = len(parts) <= 5 and sum(parts) >= limit
                two = 2 * cents >= limit and sum(2 * part >= limit for part in parts) >= 2
                return cents in parts and (few or two)
            case "below_limit":
                return 9 * limit <= 10 * cents < 10 * limit
            case _:
                return cents >= 10_000 and cents % 10_000 == 0

    @cached_property
    def hits(self) -> dict[str, list[Charge]]:
        """Pattern → the charges of history that show it."""
        return {name: [c for c in self.known if self.shows(c, name)] for name in PATTERNS}

    def pattern_bits(self, charge: Charge, name: str) -> float:
        if not self.shows(charge, name):
            return 0.0
        match name:
            case "duplicate":
                return self._duplicate_bits(charge)
            case "split":
                return self._split_bits(charge)
            case _:
                others = len(self._others(charge, "vendor"))
                found = sum(
                    c.vendor == charge.vendor and c.id != charge.id for c in self.hits[name]
                )
                return share_bits(found, others, self._company_hits(name), SHRINK)

    def _company_hits(self, name: str) -> float:
        return max(len(self.hits[name]) / max(len(self.known), 1), 1e-5)

    def _pair_share(
        self, charge: Charge, like: Sequence[Charge], company: float, here: int
    ) -> float:
        """How many of the pair's charges are like that, leaning on the vendor's and the company's.

        Args:
            like: charges of history that are.
            here: how many of them, and of the other charges, belong to what was found.
        """
        share = company
        for keys, shrink in ((("vendor",), SHRINK), (("entity", "vendor"), SHRINK / 2)):
            found = [c for c in like if all(getattr(c, k) == getattr(charge, k) for k in keys)]
            left = (max(len(some) - here, 0) for some in (found, self._of(charge, *keys)))
            found_left, charges_left = left
            share = (found_left + shrink * share) / (charges_left + shrink)
        return share

    def _duplicate_bits(self, charge: Charge) -> float:
        week = [c for c in self.near(charge, 7) if c.vendor == charge.vendor]
        copies = min(sum(c.cents == charge.cents for c in week), 3)
        here = copies if charge.known else copies - 1
        same = [c for c in self.known if c.cents == charge.cents]
        price = self._pair_share(charge, same, 0.02, here)
        by_chance = 1 - math.exp(-(len(week) - 1) * price)
        repeats = self._pair_share(
            charge, self.hits["duplicate"], self._company_hits("duplicate"), here
        )
        return -math.log2(max(min(by_chance, repeats), 1e-9))

    def _split_bits(self, charge: Charge) -> float:
        parts = min(len(self.parts(charge)), 5)
        as_large = [c for c in self.hits["split"] if c.cents >= charge.cents]
        company = max(len(as_large) / max(len(self.known), 1), 1e-5)
        here = parts if charge.known else parts - 1
        return -math.log2(self._pair_share(charge, as_large, company, here))


# ── from bits to a score ──


def bin_of(bits: float) -> int:
    return round(min(max(bits, 0) * 20, 799))


def curve(known: Sequence[float]) -> list[float]:
    """Bin → the bits that count, where history has these bits."""
    bins = [bin_of(bits) for bits in known]
    counted = []
    for at in range(800):
        seen = max(sum(b >= at for b in bins), 1) / max(len(bins), 1)
        counted.append(max(min(at / 20, -math.log2(seen)) - 2.5, 0))
    values = [counted[b] for b in bins]
    count = max(len(values), 1)
    mean = sum(values) / count
    spread = math.sqrt(max(sum(v * v for v in values) / count - mean**2, 0))
    return [bits * 0.2 / (0.2 + spread) for bits in counted]


def combined(weighed: Mapping[str, float]) -> tuple[float, Bits]:
    """All bits, and each signal's part of them."""
    total, parts = 0.0, dict.fromkeys(weighed, 0.0)
    for names in ASPECTS:
        length = math.hypot(*(weighed[name] for name in names))
        total += length
        for name in names:
            parts[name] = weighed[name] ** 2 / length if length else 0.0
    return total, parts


@dataclass(frozen=True)
class Raised:
    """A charge's score, and how many hot companions raised it."""

    companions: int
    units: float
    score: float


def raised(bits: Mapping[int, float], books: Books) -> dict[int, Raised]:
    """What companions make of the bits of scored charges: id → its score."""
    own = [bits[c.id] for c in books.known if c.id in bits]
    hot_from = quantile(own, 0.98)
    unit = max(quantile(own, 0.999) / 10, 0.1)
    scored = [c for c in books.timeline if c.id in bits]
    # Without a look ahead, the new charges of a day are each other's companions.
    raisable = [c for c in scored if books.ahead or not c.known]
    among = Books(raisable, books.ahead, books.limit)
    hot = {c.id for c in scored if bits[c.id] > hot_from}
    others: dict[int, int] = {}
    unlikely: dict[int, float] = {}
    for charge in raisable:
        same = [c for c in raisable if c.entity == charge.entity and c.day == charge.day]
        day = among.near(charge, 1) if books.ahead else same
        history = [c for c in scored if c.entity == charge.entity and c.known]
        day_hot = sum(c.id in hot for c in day)
        found = day_hot - (charge.id in hot)
        if found:
            of_day = sum(c.known for c in day)
            rest = sum(c.id in hot for c in history) - sum(c.id in hot and c.known for c in day)
            share = (rest + 0.2) / (len(history) - of_day + SHRINK)
            usual = max((len(day) - 1) * share, 1e-6)
            others[charge.id] = found
            bound = found * math.log(found / usual) - found + usual
            unlikely[charge.id] = bound / math.log(2) if found > usual else 0.0
    result: dict[int, Raised] = {}
    for charge in scored:
        own_units, more = bits[charge.id] / unit, 0.0
        if charge.id in others:
            mine = unlikely[charge.id]
            at_least = sum(b >= mine - 1e-9 for b in unlikely.values())
            more = min(mine, -math.log2(at_least / max(len(own), 1))) if books.ahead else mine
        units = own_units + 0.75 * min(own_units, max(more - 4, 0))
        score = 100 * (1 - 2 ** (-units / 5.7571))
        result[charge.id] = Raised(others.get(charge.id, 0), units, score)
    return result
