"""Batches: lines of one side that sum to one line of the other, hardly by accident."""

from collections import defaultdict
from collections.abc import Hashable, Iterable, Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from audit_pipeline.agents.reconciliation.grouping_sides import (
    ALIKE,
    NEARBY,
    Group,
    Limits,
    Links,
    Side,
    false_shares,
    round_steps,
    words_of,
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
    part, target, likeness = part[order], target[order], likeness[order]
    enough = np.bincount(target, parts.cents[part], len(targets.cents)) >= targets.cents
    for row in np.flatnonzero(enough & targets.free).tolist():
        span = slice(*np.searchsorted(target, (row, row + 1)))
        pool, wanted = part[span], int(targets.cents[row])
        named = pool[likeness[span] >= ALIKE]
        days = parts.day[named]
        daily = [named[days == day][:POOL_MAX] for day in np.unique(days)]
        for rows, near in _fitting(parts, daily, wanted, parts_max):
            yield _Hit(row, rows, near, "with names like its own and of one day")
        for rows, near in _ranked(parts, pool[:POOL_MAX], len(named), wanted, parts_max):
            yield _Hit(row, rows, near, "with names like its own")


def _ranked(
    parts: Side, pool: Ints, named: int, wanted: int, parts_max: int
) -> Iterator[tuple[Ints, int]]:
    """Sets within a pool that sum to what is wanted, and how many others are near.

    The likest lines come first, and a set competes with those that reach no further down: so a
    line that is hardly alike may belong, but has to prove it against the sets it makes possible.
    The first `named` are alike, and all of them are a set, of which there is but one.
    """
    if parts.cents[pool].sum() < wanted:
        return
    sums = _sums(parts.cents[pool])
    sizes = SIZES[: len(sums)]
    every = (1 << min(named, len(pool))) - 1
    tried = (sizes > 1) & (sizes <= parts_max)
    near = np.flatnonzero(tried & (np.abs(sums - wanted) <= NEARBY * wanted))
    tried[every] = named > 1
    hits = np.flatnonzero(tried & (sums == wanted))
    for hit in hits.tolist() if len(hits) <= HITS_MAX else ():
        rivals = (near < 1 << hit.bit_length()) & (sizes[near] <= sizes[hit]) & (near != hit)
        yield (
            pool[(hit >> np.arange(len(pool)) & 1).astype(bool)],
            0 if hit == every else int(np.count_nonzero(rivals)),
        )


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


def _families(parts: Side, keys: Iterable[tuple[int, Hashable]]) -> list[Ints]:
    """Free lines of one sign that share a key, given as (line, key); each family once."""
    members: defaultdict[Hashable, list[int]] = defaultdict(list)
    for row, key in keys:
        if parts.free[row]:
            members[key, int(parts.inflow[row])].append(row)
    different = dict.fromkeys(tuple(rows) for rows in members.values() if len(rows) > 1)
    return [np.array(rows) for rows in different]


def _in_families(
    parts: Side, targets: Side, families: list[Ints], window: tuple[int, int], parts_max: int
) -> Iterator[tuple[int, Ints, int]]:
    """Sets among lines of one family: (target, parts, others that come near).

    All sums are made once and looked up for each target; of a large family, only the whole.
    """
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

    def payable(target: int, share: float) -> Ints:
        """The sums that differ by up to this share, in the target's window and of its sign."""
        wanted, day = targets.cents[target], targets.day[target]
        low = np.searchsorted(sums, wanted * (1 - share))
        at = np.arange(low, np.searchsorted(sums, wanted * (1 + share), side="right"))
        at = at[(first[at] >= day - window[1]) & (last[at] <= day + window[0])]
        return at[inflow[at] == targets.inflow[target]]

    exact = np.searchsorted(sums, targets.cents) < np.searchsorted(sums, targets.cents, "right")
    for target in np.flatnonzero(exact & targets.free).tolist():
        hits = payable(target, 0)
        if not 0 < len(hits) <= HITS_MAX:
            continue
        near = payable(target, NEARBY)
        for hit in hits.tolist():
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
    days, names = parts.day.tolist(), parts.name.tolist()
    keys: dict[str, Iterable[tuple[int, Hashable]]] = {
        "text and day": enumerate(zip(days, names, strict=True)),
        "reference": ((i, x.reference) for i, x in enumerate(parts.lines) if x.reference),
        "day and word": (
            (i, (days[i], word)) for i, x in enumerate(parts.lines) for word in words_of(x.text)
        ),
        "day": enumerate(days),
    }
    for why, shared in keys.items():
        families = _families(parts, shared)
        for target, rows, near in _in_families(parts, targets, families, window, parts_max):
            yield _Hit(target, rows, near, f"of one {why}")


def batches(
    parts: Side, targets: Side, links: Links, window: tuple[int, int], limits: Limits, found: int
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
    tried = found + int(targets.free.sum())
    shares = false_shares([accidents for (accidents, *_), _ in ranked], tried, found)
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
