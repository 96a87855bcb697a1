"""What one-to-one matching leaves: entries that cancel out, batches, near amounts.

Names and days say which lines may belong together, amounts whether they do. A large set always
holds sums that fit by accident. So each group counts the accidents to be expected in its place,
and groups are taken only while the share of accidents among them stays below a stated level
(Benjamini and Hochberg, 1995). Everything is in whole cents. The order of the input never counts.
"""

import re
from bisect import bisect_left, bisect_right
from collections import Counter, defaultdict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray
from rapidfuzz import fuzz
from scipy import sparse

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

WORD = re.compile(r"[^\W\d_]+")
NUMBER = re.compile(r"(?<!\d)0*([1-9]\d{2,})(?!\d)")
"""A cheque or document number; shorter ones are dates and quantities."""
REVERSAL = re.compile(
    r"\b(?:VOID|REVERS|CANCEL|CORRECT|RECLASS|OFFSET|RETURN|REFUND|STORNO|NSF)\w*"
)
"""What bookkeepers write on an entry that takes back another."""
REFERENCE_MIN = 4
"""Characters; a shorter reference is a code of the trade (`JE`, `AP`)."""
ALIKE_PERCENT = 85
"""For two texts of one side (rapidfuzz, 0 to 100): a typo in a word of seven letters."""
ALIKE = 0.5
"""For texts of two sides: more of the shorter one's information is shared than not."""
UNSHARED = 0.15
"""Weight of letters the other side never writes: a channel or a place more often than a name. The
value is an earlier trial's on a published task; twice as much changes little."""
LINKS_MAX = 100
"""A text that fits more lines of its days than this names nothing."""
PRODUCTS_MAX = 200_000_000
"""Multiplications spent on comparing texts, about two seconds; the commonest trigrams go first."""
BLOCK = 512
"""Lines compared at once with those of their days, so that memory stays small."""
POOL_MAX = 12
"""Lines among which any set is tried: some 2,500 sets of up to six. As many sums within a quarter
of a payment of 500 dollars, and one in ten is exact by accident: more lines would prove nothing."""
HITS_MAX = 16
"""Where more sets than this fit, none of them is better than the others."""
NEARBY = 0.25
"""Amounts within a quarter of another show how densely sums, or lines, lie there."""
ROUND_CENTS = (1, 100, 1_000, 10_000, 100_000)
"""People round to these, so that round sums meet by accident more often."""
NESTED = 2
"""A batch is looked for in several neighbourhoods, the wide mostly holding the narrow. If each at
least doubles the sets, all up to one of them hold at most twice the accidents of that one."""
ROUNDS_MAX = 3
"""A batch that is found frees its neighbourhood of lines, so what is left is looked at again."""
SIZES: Ints = np.bitwise_count(np.arange(1 << POOL_MAX)).astype(np.int64)
"""How many lines each set of a pool has; bit i of a set's number says that line i is in it."""


class Line(NamedTuple):
    """One line of an extract; `day` is ordinal; money in has one sign of `cents` on both sides."""

    id: str
    day: int
    cents: int
    text: str
    reference: str = ""


@dataclass(frozen=True)
class Group:
    """Lines that explain each other.

    Attributes:
        kind: `offset`, `batch` or `tolerant`.
        left: indices into the left lines; empty for an offset within right.
        right: indices into the right lines; empty for an offset within left.
        confidence: 0 to 1.
        reason: for the reviewer: what adds up, and why these lines.
    """

    kind: str
    left: tuple[int, ...]
    right: tuple[int, ...]
    confidence: float
    reason: str


@dataclass(frozen=True)
class Limits:
    """How far from equal is still the same.

    Attributes:
        offset_days_max: an accrual is taken back in the next month.
        parts_max: lines in a set picked from others; the whole of a day, text or reference may
            have more.
        fee_cents_max: an international wire costs about 50 dollars; never over a quarter of the
            amount.
        difference_share_max: a card's 3 % for foreign currency and up to 2 % of spread.
        false_share_max: of batches, and of near amounts, the share that may be accidents.
    """

    offset_days_max: int = 31
    parts_max: int = 6
    fee_cents_max: int = 5_000
    difference_share_max: float = 0.05
    false_share_max: float = 0.05


USUAL = Limits()


class _Side:
    """One side's lines in the order of their content, as columns; `cents` without sign.

    `at` is each line's index in the caller's sequence, `amounts` those of the whole extract,
    sorted, `name` which of the side's texts, and `free` says it is in no group yet. A line of
    nothing explains nothing and is never free.
    """

    def __init__(self, lines: Sequence[Line], background: Sequence[Line]) -> None:
        self.at = sorted(range(len(lines)), key=lambda i: (*lines[i][1:], lines[i].id))
        self.lines = [lines[i] for i in self.at]
        self.background = background or self.lines
        self.day: Ints = np.array([line.day for line in self.lines], dtype=np.int64)
        signed: Ints = np.array([line.cents for line in self.lines], dtype=np.int64)
        self.cents: Ints = np.abs(signed)
        self.inflow: Ints = (signed > 0).astype(np.int64)
        self.name: Ints = np.zeros(len(lines), dtype=np.int64)
        self.free: NDArray[np.bool_] = self.cents > 0
        self.amounts: Ints = np.sort([abs(line.cents) for line in self.background])

    def take(self, rows: Sequence[int]) -> tuple[int, ...]:
        """Marks rows as grouped and returns the caller's indices."""
        self.free[list(rows)] = False
        return tuple(sorted(self.at[row] for row in rows))


class _Links(NamedTuple):
    """Pairs of a left and a right line that are alike and near in days; three columns."""

    left: Ints
    right: Ints
    likeness: Floats


def group(
    left: Sequence[Line],
    right: Sequence[Line],
    *,
    days_before: int = 3,
    days_after: int = 15,
    limits: Limits = USUAL,
    background_left: Sequence[Line] = (),
    background_right: Sequence[Line] = (),
) -> list[Group]:
    """Offsets, then batches, then near amounts among lines that no one-to-one match took.

    Args:
        left: lines of, say, the ledger, in any order, `id` unique.
        right: lines of, say, the bank.
        days_before: a right line may be this many days older than its left one: a weekend, when
            entries wait for Monday.
        days_after: and this many days younger: a mailed cheque takes two weeks.
        limits: how far from equal is still the same.
        background_left: the whole extract, which shows what words and amounts are rare.
        background_right: the same for the right side.

    Returns:
        Groups that share no line, in the order in which they were found.
    """
    ledger, bank = _Side(left, background_left), _Side(right, background_right)
    groups = [Group("offset", rows, (), sure, why) for rows, sure, why in _offsets(ledger, limits)]
    groups += [Group("offset", (), rows, sure, why) for rows, sure, why in _offsets(bank, limits)]
    if not (ledger.free.any() and bank.free.any()):
        return groups
    links = _links(ledger, bank, days_before, days_after)
    swapped = _Links(links.right, links.left, links.likeness)
    for _ in range(ROUNDS_MAX):
        paid = _batches(ledger, bank, links, (days_before, days_after), limits)
        split = _batches(bank, ledger, swapped, (days_after, days_before), limits)
        groups += [*paid, *(replace(one, left=one.right, right=one.left) for one in split)]
        if not paid and not split:
            break
    return groups + _tolerant(ledger, bank, links, 1 + days_before + days_after, limits)


def _false_shares(accidents: Sequence[float], tried: int) -> list[float]:
    """For ascending expected accidents: the share of accidents if all up to here are taken."""
    shares = np.array(accidents) * tried / np.arange(1, len(accidents) + 1)
    return np.minimum.accumulate(np.minimum(shares, 1)[::-1])[::-1].tolist()


def _steps(amounts: Ints, cents: Ints) -> Floats:
    """For each of `cents`, how many cents share one outcome: its unit, by how many are so round."""
    steps: Floats = np.ones(len(cents))
    for unit in ROUND_CENTS:
        share = (np.count_nonzero(amounts % unit == 0) + 1) / (len(amounts) + 1)
        steps = np.where(cents % unit == 0, np.maximum(steps, unit * share), steps)
    return steps


# ── offsets ───────────────────────────────────────────────────────────────────────────────────────


def _offsets(side: _Side, limits: Limits) -> Iterator[tuple[tuple[int, ...], float, str]]:
    """Equal and opposite lines linked by reference, word or text: (indices, confidence, reason)."""
    rows_of: defaultdict[tuple[int, int], list[int]] = defaultdict(list)
    for row in np.flatnonzero(side.free).tolist():
        rows_of[int(side.cents[row]), int(side.inflow[row])].append(row)
    found: list[tuple[float, int, int, int, str]] = []
    for (cents, inflow), rows in rows_of.items():
        others = [] if inflow else rows_of.get((cents, 1), [])
        days = [side.lines[row].day for row in others]
        for row in rows if others else ():
            day = side.lines[row].day
            first = bisect_left(days, day - limits.offset_days_max)
            last = bisect_right(days, day + limits.offset_days_max)
            for other in others[first:last] if last - first <= LINKS_MAX else ():
                doubt, why = _link(side.lines[row], side.lines[other], alone=last - first == 1)
                if doubt < 1:
                    found.append((doubt, abs(day - side.lines[other].day), row, other, why))
    for doubt, lag, row, other, why in sorted(found):
        if side.free[[row, other]].all():
            reason = f"{side.cents[row] / 100:,.2f} in and out within {lag} days; {why}."
            yield side.take((row, other)), 1 - doubt, reason


def _link(one: Line, other: Line, *, alone: bool) -> tuple[float, str]:
    """How doubtful it is that two lines that cancel out belong together, and why they do.

    The doubts are a reviewer's order, not measured: a reference, a word and a text that is alike
    each more than halve it, and a word alone counts where no other line could be meant.
    """
    texts = one.text.upper(), other.text.upper()
    references = one.reference.upper(), other.reference.upper()
    short, long = sorted(references, key=len)
    word = next((hit.group() for text in texts for hit in REVERSAL.finditer(text)), "")
    bare = [" ".join(WORD.findall(REVERSAL.sub(" ", text))) for text in texts]
    alike = all(bare) and fuzz.token_set_ratio(*bare) >= ALIKE_PERCENT
    named = (len(short) >= REFERENCE_MIN and long.startswith(short)) or any(
        len(reference) >= REFERENCE_MIN and reference in text
        for reference, text in zip(references, texts[::-1], strict=True)
    )
    why = {"a shared reference": named, f"the word {word}": bool(word), "like texts": alike}
    doubt = 0.5 ** (2 * sum(why.values()))
    if not (named or alike or (word and alone)):
        doubt = 1.0
    return doubt, "linked by " + ", ".join(what for what, holds in why.items() if holds)


# ── names ─────────────────────────────────────────────────────────────────────────────────────────


def _numbers(line: Line) -> set[str]:
    return {*NUMBER.findall(line.text), *NUMBER.findall(line.reference)}


def _grams(text: tuple[str, ...]) -> Iterator[str]:
    """The trigrams of a text's words, and its numbers."""
    words = f" {text[0]} "
    yield from dict.fromkeys(words[i : i + 3] for i in range(len(words) - 2))
    yield from text[1:]


def _trigrams(sides: Sequence[_Side]) -> tuple[list[sparse.csr_matrix], Floats]:
    """A 0-1 matrix of lines by trigrams for each side, and the trigrams' weights.

    A text is its words and the numbers that both sides know. The rarer a trigram on the side where
    it is more common, the more it says; the logarithm is squared, as in a cosine of tf-idf.
    """
    known = set.intersection(*(set[str]().union(*map(_numbers, x.lines)) for x in sides))
    column: dict[str, int] = {}
    cells: list[list[list[int]]] = []
    rarities: list[dict[str, float]] = []
    for side in sides:
        texts, every = (
            [(" ".join(WORD.findall(x.text.upper())), *sorted(_numbers(x) & known)) for x in lines]
            for lines in (side.lines, side.background)
        )
        ids = {text: i for i, text in enumerate(dict.fromkeys(texts))}
        side.name = np.array([ids[text] for text in texts], dtype=np.int64)
        of = [[column.setdefault(gram, len(column)) for gram in _grams(text)] for text in ids]
        cells.append([of[name] for name in side.name])
        counts: Counter[str] = Counter()
        for text, count in Counter(every).items():
            counts.update(dict.fromkeys(_grams(text), count))
        rarities.append({x: float(np.log((len(every) + 1) / n)) for x, n in counts.items()})
    matrices: list[sparse.csr_matrix] = []
    for rows in cells:
        ends = np.cumsum([0, *map(len, rows)])
        flat = np.array([cell for row in rows for cell in row], dtype=np.int64)
        shape = len(rows), len(column)
        matrices.append(sparse.csr_matrix((np.ones(len(flat)), flat, ends), shape=shape))
    weight: Floats = np.zeros(len(column))
    for gram, i in column.items():
        rare = [rarity[gram] for rarity in rarities if gram in rarity]
        weight[i] = min(rare, default=0) ** 2 * (1 if len(rare) > 1 else UNSHARED)
    used = np.prod([np.bincount(m.indices, minlength=len(column)) for m in matrices], axis=0)
    cheap = np.argsort(used, kind="stable")
    weight[cheap[np.cumsum(used[cheap]) > PRODUCTS_MAX]] = 0
    return matrices, weight


def _links(left: _Side, right: _Side, before: int, after: int) -> _Links:
    """Free lines of like texts and the same sign, the right one −before … +after days later.

    Likeness is the share of the shorter text's weight that the other has too: cut ends do no harm.
    """
    (ours, theirs), weight = _trigrams((left, right))
    whole = ours @ weight, theirs @ weight
    theirs = theirs.multiply(weight).tocsr()
    found: list[tuple[Ints, Ints, Floats]] = []
    for start in range(0, len(right.lines), BLOCK):
        days = right.day[start : start + BLOCK]
        first = int(np.searchsorted(left.day, days[0] - after))
        last = int(np.searchsorted(left.day, days[-1] + before, side="right"))
        block = (theirs[start : start + BLOCK] @ ours[first:last].T).tocoo()
        rows, columns = block.col.astype(np.int64) + first, block.row.astype(np.int64) + start
        likeness = block.data / np.minimum(whole[0][rows], whole[1][columns]).clip(1e-9)
        lag = right.day[columns] - left.day[rows]
        keep = (likeness >= ALIKE) & (lag >= -before) & (lag <= after)
        keep &= left.free[rows] & right.free[columns] & (left.inflow[rows] == right.inflow[columns])
        found.append((rows[keep], columns[keep], likeness[keep].round(6)))
    rows, columns, likeness = (np.concatenate(parts) for parts in zip(*found, strict=True))
    keep = (np.bincount(rows)[rows] <= LINKS_MAX) & (np.bincount(columns)[columns] <= LINKS_MAX)
    return _Links(rows[keep], columns[keep], likeness[keep])


# ── batches ───────────────────────────────────────────────────────────────────────────────────────


class _Hit(NamedTuple):
    """Parts that sum to a target, and how many sets come near it where these were found."""

    target: int
    parts: Ints
    near: int
    why: str


def _sums(cents: Ints) -> Ints:
    """The sums of all sets of up to POOL_MAX amounts, in the order of the sets' numbers."""
    sums: Ints = np.zeros(1, dtype=np.int64)
    for amount in cents:
        sums = np.concatenate((sums, sums + amount))
    return sums


def _in_like_names(parts: _Side, targets: _Side, links: _Links, parts_max: int) -> Iterator[_Hit]:
    """Sets among the lines whose names are most like the target's."""
    part, target, likeness = links
    keep = parts.free[part] & targets.free[target] & (parts.cents[part] < targets.cents[target])
    part, target, likeness = part[keep], target[keep], likeness[keep]
    order = np.lexsort((part, np.abs(parts.day[part] - targets.day[target]), -likeness, target))
    part, target = part[order], target[order]
    enough = np.bincount(target, parts.cents[part], len(targets.cents)) >= targets.cents
    for row in np.flatnonzero(enough & targets.free).tolist():
        pool = part[slice(*np.searchsorted(target, (row, row + 1)))]
        days = parts.day[pool]
        daily = [pool[days == day][:POOL_MAX] for day in np.unique(days)]
        for pools, why in ((daily, " and of one day"), ([pool[:POOL_MAX]], "")):
            for rows, near in _fitting(parts, pools, int(targets.cents[row]), parts_max):
                yield _Hit(row, rows, near, f"with names like its own{why}")


def _fitting(
    parts: _Side, pools: list[Ints], wanted: int, parts_max: int
) -> Iterator[tuple[Ints, int]]:
    """Sets within a pool that sum to what is wanted, and how many others of all pools are near."""
    pools = [pool for pool in pools if len(pool) > 1 and parts.cents[pool].sum() >= wanted]
    tables = [_sums(parts.cents[pool]) for pool in pools]
    for pool, sums in zip(pools, tables, strict=True):
        hits = np.flatnonzero(sums == wanted)
        for hit in hits.tolist() if len(hits) <= HITS_MAX else ():
            size, is_whole = int(SIZES[hit]), hit == len(sums) - 1
            if is_whole or 1 < size <= parts_max:
                near = 0
                for others in tables:
                    close = np.abs(others - wanted) <= NEARBY * wanted
                    sizes = SIZES[: len(others)]
                    tried = (sizes > 1) & (sizes <= size) & close
                    near += int(close[-1] if is_whole else np.count_nonzero(tried))
                yield pool[(hit >> np.arange(len(pool)) & 1).astype(bool)], near - 1


def _in_families(
    parts: _Side, targets: _Side, key: Ints, window: tuple[int, int], parts_max: int
) -> Iterator[tuple[int, Ints, int]]:
    """Sets among lines that share a key (negative: none): (target, parts, others that come near).

    All sums are made once and looked up for each target; of a large family, only the whole.
    """
    key = np.where(key < 0, -1, key * 2 + parts.inflow)
    rows = np.flatnonzero(parts.free & (key >= 0))
    rows = rows[np.argsort(key[rows], kind="stable")]
    bounds = np.flatnonzero(np.diff(key[rows])) + 1
    families = [family for family in np.split(rows, bounds) if len(family) > 1]
    tables: list[tuple[Ints, Ints]] = []
    for family in families:
        if len(family) > POOL_MAX:
            tables.append((parts.cents[family].sum(keepdims=True), np.zeros(1, dtype=np.int64)))
            continue
        sizes = SIZES[: 1 << len(family)]
        tried = np.flatnonzero((sizes > 1) & ((sizes <= parts_max) | (sizes == len(family))))
        tables.append((_sums(parts.cents[family])[tried], tried))
    if not tables:
        return
    owner = np.repeat(np.arange(len(tables)), [len(sums) for sums, _ in tables])
    sums, sets = (np.concatenate(columns) for columns in zip(*tables, strict=True))
    order = np.argsort(sums, kind="stable")
    sums, sets, owner = sums[order], sets[order], owner[order]
    # A set of the number 0 is the whole of a family too large to be numbered.
    size = np.where(sets == 0, parts_max, SIZES[sets])
    whole = (sets == 0) | (size == np.array([len(family) for family in families])[owner])
    first, last, inflow = (
        np.array([column[family[at]] for family in families])[owner]
        for column, at in ((parts.day, 0), (parts.day, -1), (parts.inflow, 0))
    )
    exact = np.searchsorted(sums, targets.cents) < np.searchsorted(sums, targets.cents, "right")
    for target in np.flatnonzero(exact & targets.free).tolist():
        wanted, day = targets.cents[target], targets.day[target]
        near = np.arange(*np.searchsorted(sums, (wanted * (1 - NEARBY), wanted * (1 + NEARBY))))
        near = near[(first[near] >= day - window[1]) & (last[near] <= day + window[0])]
        near = near[inflow[near] == targets.inflow[target]]
        hits = near[sums[near] == wanted]
        for hit in hits.tolist() if len(hits) <= HITS_MAX else ():
            family, chosen = families[owner[hit]], sets[hit]
            if chosen:
                family = family[(chosen >> np.arange(len(family)) & 1).astype(bool)]
            others = whole[near] if whole[hit] else size[near] <= size[hit]
            yield target, family, int(others.sum()) - 1


def _hits(
    parts: _Side, targets: _Side, links: _Links, window: tuple[int, int], parts_max: int
) -> Iterator[_Hit]:
    """Sets of free parts that sum to a target, in each kind of neighbourhood."""
    yield from _in_like_names(parts, targets, links, parts_max)
    references = {line.reference: i for i, line in enumerate(parts.lines)}
    reference = np.array([references[x.reference] if x.reference else -1 for x in parts.lines])
    day = parts.day - parts.day.min()
    text_day = day * (1 + parts.name.max()) + parts.name
    for key, why in ((text_day, "text and day"), (reference, "reference"), (day, "day")):
        for target, rows, near in _in_families(parts, targets, key, window, parts_max):
            yield _Hit(target, rows, near, f"of one {why}")


def _batches(
    parts: _Side, targets: _Side, links: _Links, window: tuple[int, int], limits: Limits
) -> list[Group]:
    """Targets (right) that free lines of the other side (left) add up to exactly."""
    steps = _steps(np.concatenate((parts.amounts, targets.amounts)), targets.cents)
    sets: defaultdict[int, dict[object, tuple[float, int, tuple[int, ...], str]]] = defaultdict(
        dict
    )
    for target, rows, near, why in _hits(parts, targets, links, window, limits.parts_max):
        cents = int(targets.cents[target])
        accidents = float(NESTED * (near + 1) * steps[target] / (2 * NEARBY * cents))
        # Sets that differ in nothing but ids are one; the first by id stands for all.
        columns = (parts.name[rows], parts.day[rows], parts.cents[rows])
        content = tuple(sorted(zip(*(column.tolist() for column in columns), strict=True)))
        chosen = accidents, int(np.ptp(parts.day[rows])), tuple(sorted(rows.tolist())), why
        sets[target][content] = min(chosen, sets[target].get(content, chosen))
    ranked = sorted((min(rivals.values()), target) for target, rivals in sets.items())
    shares = _false_shares([accidents for (accidents, *_), _ in ranked], int(targets.free.sum()))
    groups: list[Group] = []
    for ((accidents, days, rows, why), target), share in zip(ranked, shares, strict=True):
        if share > limits.false_share_max:
            break
        if targets.free[target] and parts.free[list(rows)].all():
            rivals = len(sets[target]) - 1
            odds = 1 / accidents / sum(1 / rival[0] for rival in sets[target].values())
            reason = (
                f"{len(rows)} lines {why}, within {days} days, add up to "
                f"{targets.cents[target] / 100:,.2f} exactly; "
                f"{f'so do {rivals} other sets' if rivals else 'no other set does'}; "
                f"{accidents:.1g} would by accident."
            )
            taken = parts.take(rows), targets.take([target])
            groups.append(Group("batch", *taken, (1 - share) * odds, reason))
    return groups


# ── near amounts ──────────────────────────────────────────────────────────────────────────────────


def _slip(one: Ints, other: Ints) -> Floats:
    """How many amounts a slip as small could make of `one`; infinite where none makes `other`.

    A slip swaps two neighbouring digits or mistypes one.
    """
    digits = np.floor(np.log10(one)) + 1
    slips: Floats = np.full(len(one), np.inf)
    for place in range(int(digits.max(initial=0))):
        unit = 10**place
        mistyped = (one // unit // 10 == other // unit // 10) & (one % unit == other % unit)
        slips[mistyped] = 9 * digits[mistyped]
        swapped = one + (one // unit % 10 - one // unit // 10 % 10) * 9 * unit == other
        slips[swapped] = digits[swapped] - 1
    slips[np.floor(np.log10(other)) + 1 != digits] = np.inf
    return slips


def _tolerant(
    left: _Side, right: _Side, links: _Links, window_days: int, limits: Limits
) -> list[Group]:
    """Pairs of like names whose amounts differ by a fee, a rate or a digit."""
    free = left.free[links.left] & right.free[links.right]
    one, other, likeness = links.left[free], links.right[free], links.likeness[free]
    cents, paid = left.cents[one], right.cents[other]
    difference, larger = np.abs(cents - paid), np.maximum(cents, paid)
    fee = np.minimum(limits.fee_cents_max, larger * NEARBY)
    within = difference <= np.maximum(fee, larger * limits.difference_share_max)
    # How many amounts would pass as being as near; how many lines of the extract, and how many of
    # the other lines linked, lie on each cent there; and how much of the window is as near in days.
    slips = _slip(paid, cents) * _steps(left.amounts, paid)
    passing = np.where(within, np.minimum(2 * difference + 1, slips), slips)
    near = np.searchsorted(left.amounts, paid * (1 + NEARBY), side="right")
    near -= np.searchsorted(left.amounts, paid * (1 - NEARBY))
    linked = np.bincount(other)[other]
    lines = linked * (near + 1) / (len(left.amounts) + 1)
    lines = np.maximum(lines, np.bincount(other, difference <= NEARBY * paid)[other] - 1)
    lag = np.abs(left.day[one] - right.day[other])
    accidents = np.minimum(1, passing * lines / (2 * NEARBY * paid))
    accidents *= np.minimum(1, (2 * lag + 1) / window_days)
    weight = np.where(np.isfinite(passing), 1 / accidents, 0)
    rivalry = np.maximum(np.bincount(one, weight)[one], np.bincount(other, weight)[other])
    pairs: list[int] = []
    taken = left.free.copy(), right.free.copy()
    for pair in np.lexsort((other, one, -likeness, accidents)).tolist():
        if weight[pair] and taken[0][one[pair]] and taken[1][other[pair]]:
            pairs.append(pair)
            taken[0][one[pair]] = taken[1][other[pair]] = False
    shares = _false_shares(accidents[pairs].tolist(), len(np.unique(other)))
    groups: list[Group] = []
    for pair, share in zip(pairs, shares, strict=True):
        if share > limits.false_share_max:
            break
        digits = sorted(str(cents[pair])) == sorted(str(paid[pair]))
        reason = (
            f"Names {likeness[pair]:.0%} alike, {lag[pair]} days apart; amounts differ by "
            f"{difference[pair] / 100:,.2f} ({difference[pair] / larger[pair]:.1%}"
            f"{', the same digits' if digits else ''}); {linked[pair] - 1} other lines like it."
        )
        rows = left.take([int(one[pair])]), right.take([int(other[pair])])
        groups.append(
            Group("tolerant", *rows, float((1 - share) * weight[pair] / rivalry[pair]), reason)
        )
    return groups
