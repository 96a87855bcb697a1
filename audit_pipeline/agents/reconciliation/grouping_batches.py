"""Batches: lines of one side that sum to one line of the other, hardly by accident."""

from collections import defaultdict
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.agents.reconciliation.grouping_sides import (
    NEARBY,
    Group,
    Limits,
    Links,
    Side,
    false_shares,
    round_steps,
)

Ints = NDArray[np.int64]
Floats = NDArray[np.float64]

POOL_MAX = 12
"""Lines among which any set is tried: some 2,500 sets of up to six. As many sums within a quarter
of a payment of 500 dollars, and one in ten is exact by accident: more lines would prove nothing."""
HITS_MAX = 16
"""Where more sets than this fit, none of them is better than the others."""
NESTED = 2
"""A batch is looked for in several neighbourhoods, the wide mostly holding the narrow. If each at
least doubles the sets, all up to one of them hold at most twice the accidents of that one."""
SIZES: Ints = np.bitwise_count(np.arange(1 << POOL_MAX)).astype(np.int64)
"""How many lines each set of a pool has; bit i of a set's number says that line i is in it."""


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


def _in_like_names(parts: Side, targets: Side, links: Links, parts_max: int) -> Iterator[_Hit]:
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
    parts: Side, pools: list[Ints], wanted: int, parts_max: int
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
    parts: Side, targets: Side, key: Ints, window: tuple[int, int], parts_max: int
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
    parts: Side, targets: Side, links: Links, window: tuple[int, int], parts_max: int
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


def batches(
    parts: Side, targets: Side, links: Links, window: tuple[int, int], limits: Limits
) -> list[Group]:
    """Targets (right) that free lines of the other side (left) add up to exactly."""
    steps = round_steps(np.concatenate((parts.amounts, targets.amounts)), targets.cents)
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
    shares = false_shares([accidents for (accidents, *_), _ in ranked], int(targets.free.sum()))
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
