"""The best one-to-one assignment: each left line to at most one right line, and the reverse."""

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment
from scipy.sparse import coo_matrix, csr_matrix
from scipy.sparse.csgraph import connected_components, min_weight_full_bipartite_matching

DENSE_CELLS_MAX = 4_000_000
"""A component with more cells than this is solved sparsely: 32 MB of float64."""

Ints = NDArray[np.int64]


def best_assignment(left: Ints, right: Ints, gain: NDArray[np.float64]) -> Ints:
    """The indices of the pairs that make the largest total gain; no line occurs twice in them.

    Args:
        left: (pairs,) numbers of the left lines, from 0.
        right: (pairs,) numbers of the right lines, from 0.
        gain: (pairs,) what a pair adds; one of 0 or less is never taken.

    Returns:
        (chosen,) in rising order. Pairs must come in a canonical order for ties to fall alike.
    """
    useful = np.flatnonzero(gain > 0)
    if not len(useful):
        return useful
    left_of, right_of = left[useful], right[useful]
    alone = (np.bincount(left_of)[left_of] == 1) & (np.bincount(right_of)[right_of] == 1)
    chosen = [useful[alone]]
    contested = useful[~alone]
    if len(contested):
        chosen += [
            _solved(members, left, right, gain)
            for members in _components(left[contested], right[contested], contested)
        ]
    return np.sort(np.concatenate(chosen))


def distinct(numbers: Ints) -> tuple[Ints, Ints]:
    """The different numbers in rising order, and which of them each one is.

    For line numbers, which lie close together: counts where `numpy.unique` would sort.
    """
    if not len(numbers):
        return numbers, numbers
    first = numbers.min()
    there = np.zeros(numbers.max() - first + 1, np.bool_)
    there[numbers - first] = True
    return np.flatnonzero(there) + first, (np.cumsum(there) - 1)[numbers - first]


def _components(left: Ints, right: Ints, members: Ints) -> list[Ints]:
    """The pairs, grouped by what hangs together."""
    _, left_at = distinct(left)
    _, right_at = distinct(right)
    size = int(left_at.max()) + int(right_at.max()) + 2
    ones = np.ones(len(left_at), np.int8)
    graph = coo_matrix((ones, (left_at, left_at.max() + 1 + right_at)), shape=(size, size))
    _, label = connected_components(graph, directed=False)
    component = label[left_at]
    order = np.argsort(component, kind="stable")
    edges = np.flatnonzero(np.diff(component[order])) + 1
    return np.split(members[order], edges)


def _solved(members: Ints, left: Ints, right: Ints, gain: NDArray[np.float64]) -> Ints:
    lefts, rows = np.unique(left[members], return_inverse=True)
    rights, columns = np.unique(right[members], return_inverse=True)
    if len(lefts) * len(rights) > DENSE_CELLS_MAX:
        return _solved_sparsely(members, rows, columns, gain[members])
    gains = np.zeros((len(lefts), len(rights)))
    which = np.full(gains.shape, -1)
    gains[rows, columns] = gain[members]
    which[rows, columns] = members
    taken = which[linear_sum_assignment(gains, maximize=True)]
    return taken[taken >= 0]


def _solved_sparsely(members: Ints, rows: Ints, columns: Ints, gain: NDArray[np.float64]) -> Ints:
    """With a private stand-in for every left line, which costs as much as a gain of nothing."""
    lefts, rights = int(rows.max()) + 1, int(columns.max()) + 1
    most = float(gain.max()) + 1
    stand_in = rights + np.arange(lefts)
    cost = csr_matrix(
        (
            np.concatenate([most - gain, np.full(lefts, most)]),
            (np.concatenate([rows, np.arange(lefts)]), np.concatenate([columns, stand_in])),
        ),
        shape=(lefts, rights + lefts),
    )
    taken_rows, taken_columns = min_weight_full_bipartite_matching(cost)
    real = taken_columns < rights
    place = {(r, c): m for r, c, m in zip(rows.tolist(), columns.tolist(), members, strict=True)}
    pairs = zip(taken_rows[real].tolist(), taken_columns[real].tolist(), strict=True)
    return np.array([place[pair] for pair in pairs], np.int64)
