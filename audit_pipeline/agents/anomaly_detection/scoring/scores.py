"""From bits to a score, in SQL: every signal is held against its own population, then summed.

A signal's model is never quite right, so its bits are the lesser of what the model says and of what
is seen: the share of charges with at least so many. What exceeds a floor counts, and counts less
where the signal speaks often. Signals of one aspect tell the same story in other words: they are
combined like the sides of a right angle, and the aspects are added up. A charge with other hot
charges of its entity within a day is raised, up to its own worth once more, by how unlikely so many
of them are (Chernoff's bound of Poisson's tail).
"""

from collections.abc import Mapping, Sequence

from audit_pipeline.agents.anomaly_detection.scoring.hits import Sight
from audit_pipeline.agents.anomaly_detection.scoring.profiles import SHRINK

BINS_A_BIT, BINS = 20, 800
"""Of the histograms that calibrate: finer than anybody reads, and up to forty bits."""
FLOOR_BITS = 2.5
"""One charge in six is this surprising in any one aspect: noise. From 2 to 3 is as good."""
STEADY_BITS = 0.2
"""A signal whose counted bits spread by so much over all charges counts half, a silent one in
full: who cries often is heard less. From 0.05 to 0.2 is as good."""
HOT_SHARE = 0.02
"""Of all charges that count as hot. One in fifty on a card's day is no pattern, three are."""
UNIT_SHARE, UNITS = 0.001, 10
"""One charge in a thousand has ten units or more, whatever the data: so scores compare."""
COMPANIONS_WEIGHT, COMPANIONS_FLOOR = 0.75, 4.0
"""How far hot companions raise a charge, and the bits below which they may be chance. Measured:
best over five public sets among 0 to 1.5."""
SCORE_AT_UNITS = 0.7
"""Of the way to 100 at UNITS: the specification flags above 70."""
HALF_UNITS = 5.7571
"""Units that halve the way to 100: UNITS / log2(1 / (1 - SCORE_AT_UNITS))."""


def _bin(signal: str) -> str:
    # As a double: DuckDB compares single precision ten times slower.
    return (
        f"CAST(round(least(greatest(CAST({signal} AS DOUBLE), 0) * {BINS_A_BIT}, {BINS - 1}))"
        " AS INTEGER)"
    )


def scores(sight: Sight, aspects: Mapping[str, Sequence[str]]) -> tuple[tuple[str, str], ...]:
    """Tables of the score, in the order in which they can be made, from `audit.signals`.

    Args:
        sight: of what the charges of a day see of each other. Where they see ahead, all charges
            are each other's history; otherwise new ones (`own` 0) have the companions of their
            own day, whatever else is scored with them.
        aspects: aspect → its signals.
    """
    signals = [name for names in aspects.values() for name in names]
    histograms = "\n  UNION ALL ".join(
        f"SELECT {place} AS signal, {_bin(name)} AS bin, count(*) AS found"
        f" FROM audit.known_signals GROUP BY {_bin(name)}"
        for place, name in enumerate(signals)
    )
    curves = ",\n  ".join(
        f"any_value(CASE WHEN signal = {place} THEN curve END) AS {name}"
        for place, name in enumerate(signals)
    )
    looked_up = ",\n    ".join(
        f"CAST(calibration.{name}[{_bin(f'signal.{name}')} + 1] AS DOUBLE) AS {name}"
        for name in signals
    )
    lengths = ",\n    ".join(
        f"sqrt({' + '.join(f'power({name}, 2)' for name in names)}) AS of_{aspect}"
        for aspect, names in aspects.items()
    )
    parts = ",\n  ".join(
        f"CAST(coalesce(power({name}, 2) / nullif(of_{aspect}, 0), 0) AS FLOAT) AS {name}"
        for aspect, names in aspects.items()
        for name in names
    )
    day = (
        f" ORDER BY marked.made_at {sight.days(1)}"
        if sight.ahead
        else (", CAST(marked.made_at AS DATE)")
    )
    # What is seen of companions is seen in all charges only.
    seen = "least(seen.bits, -log2(seen.at_least / heat.charges))" if sight.ahead else "seen.bits"
    return (
        (
            "calibration",
            f"""WITH found AS (
  {histograms}
),
every_bin AS (
  SELECT signals.signal, bins.bin, coalesce(found.found, 0) AS found
  FROM (SELECT unnest(range({len(signals)})) AS signal) AS signals
  CROSS JOIN (SELECT unnest(range({BINS})) AS bin) AS bins
  LEFT JOIN found ON found.signal = signals.signal AND found.bin = bins.bin
),
seen AS (
  SELECT signal, bin, found, sum(found) OVER every AS charges,
    greatest(least(bin / {BINS_A_BIT:.1f}, -log2(greatest(sum(found) OVER more, 1)
      / greatest(sum(found) OVER every, 1))) - {FLOOR_BITS}, 0) AS bits
  FROM every_bin
  WINDOW more AS (PARTITION BY signal ORDER BY bin DESC), every AS (PARTITION BY signal)
),
weights AS (
  SELECT signal, {STEADY_BITS} / ({STEADY_BITS} + sqrt(greatest(
    sum(found * bits * bits) / greatest(any_value(charges), 1)
      - power(sum(found * bits) / greatest(any_value(charges), 1), 2), 0))) AS weight
  FROM seen GROUP BY signal
),
curves AS (
  SELECT seen.signal, list(seen.bits * weights.weight ORDER BY seen.bin) AS curve
  FROM seen JOIN weights ON weights.signal = seen.signal
  GROUP BY seen.signal
)
SELECT {curves}
FROM curves""",
        ),
        (
            "counted",
            f"""WITH weighed AS (
  SELECT signal.id, {looked_up}
  FROM audit.signals AS signal
  CROSS JOIN audit.calibration AS calibration
),
lengths AS (
  SELECT *, {lengths}
  FROM weighed
)
SELECT id, {" + ".join(f"of_{aspect}" for aspect in aspects)} AS bits,
  {parts}
FROM lengths""",
        ),
        (
            "summed",
            """SELECT charge.id, charge.entity, charge.made_at, charge.own, counted.bits
FROM audit.counted AS counted
JOIN audit.scored_charges AS charge ON charge.id = counted.id""",
        ),
        (
            "heat",
            f"""SELECT coalesce(quantile_cont(bits, {1 - HOT_SHARE}), 0) AS hot_bits,
  greatest(coalesce(quantile_cont(bits, {1 - UNIT_SHARE}), 0) / {UNITS}, 0.1) AS unit,
  CAST(greatest(count(*), 1) AS DOUBLE) AS charges
FROM audit.summed
WHERE own = 1""",
        ),
        (
            # Charges with hot companions, and how unlikely so many are where few are usual.
            "companions",
            f"""WITH marked AS (
  SELECT summed.id, summed.entity, summed.made_at, summed.own,
    CASE WHEN summed.bits > heat.hot_bits THEN 1 ELSE 0 END AS hot
  FROM audit.summed AS summed
  CROSS JOIN audit.heat AS heat
),
entities AS (
  SELECT entity, CAST(sum(hot) AS DOUBLE) AS hot, CAST(count(*) AS DOUBLE) AS charges
  FROM marked WHERE own = 1 GROUP BY entity
),
hot_entities AS (
  SELECT entity FROM marked GROUP BY entity HAVING sum(hot) > 0
),
near AS (
  SELECT marked.id, marked.entity, marked.hot, marked.own,
    CAST(sum(marked.hot) OVER day AS DOUBLE) AS day_hot,
    CAST(count(*) OVER day AS DOUBLE) AS day_charges
  FROM marked
  SEMI JOIN hot_entities ON hot_entities.entity = marked.entity
  WHERE marked.own = {int(sight.ahead)}
  WINDOW day AS (PARTITION BY marked.entity{day})
),
expected AS (
  SELECT near.id, near.day_hot - near.hot AS others,
    greatest((near.day_charges - 1)
      * (coalesce(entities.hot, 0) - near.own * near.day_hot + {SHRINK * HOT_SHARE})
      / (coalesce(entities.charges, 0) - near.own * near.day_charges + {SHRINK}), 1e-6) AS usual
  FROM near
  LEFT JOIN entities ON entities.entity = near.entity
  WHERE near.day_hot > near.hot
),
bounds AS (
  SELECT id, others, CASE WHEN others > usual
    THEN (others * ln(others / usual) - others + usual) / ln(2) ELSE 0 END AS bits
  FROM expected
),
seen AS (
  SELECT id, others, bits, count(*) OVER (ORDER BY bits DESC) AS at_least FROM bounds
)
SELECT seen.id, seen.others, {seen} AS bits
FROM seen
CROSS JOIN audit.heat AS heat""",
        ),
        (
            "scored",
            f"""SELECT *, 100 * (1 - power(2, -units / {HALF_UNITS})) AS score
FROM (
  SELECT summed.id, summed.bits, coalesce(companions.others, 0) AS companions,
    heat.unit, summed.bits / heat.unit + {COMPANIONS_WEIGHT} * least(summed.bits / heat.unit,
      greatest(coalesce(companions.bits, 0) - {COMPANIONS_FLOOR}, 0)) AS units
  FROM audit.summed AS summed
  CROSS JOIN audit.heat AS heat
  LEFT JOIN audit.companions AS companions ON companions.id = summed.id
) AS raised""",
        ),
    )
