"""Record linkage in SQL: how common every value is, and which pairs of lines are worth a look.

A side is a table of `n` (0, 1, …: its place when the lines are put in order), `day` (days since
2000-01-01), `cents` and `text` (letters and digits, all of one case, one
space between words).

Keys are hashed, so that the work grows with the lines and not with their square: the beginning of
the text, or a rare word of it, × a bucket of the amount's logarithm × a bucket of days; and the
exact amount × a bucket of days, whatever the text says. The windows only block: what a difference
of amounts or days is worth is learned (`linkage.py`).
"""

import math
from dataclasses import dataclass

from audit_pipeline.model.query import Query

HEAD = 3
"""Letters of the text that make its key. Shorter ones would join nearly everything, longer ones
lose names that a typing error shortened (Splink's public example blocks on three, too)."""
PREFIX_MAX = 28
"""Beyond, a common beginning is as good as equal: bank descriptors are cut at 16 to 28 letters."""
EQUAL = PREFIX_MAX + 1
"""The level of equal texts; from HEAD to PREFIX_MAX a level is the length of what is common."""
SIZE_WIDTH = 0.1
"""Of the buckets, in natural logarithms, in which amounts are counted: a tenth of the amount."""
WORD_MIN = 3
LINES_LEAST = 200
"""So few lines do not tell what is rare: a value not among them is taken for one in two hundred."""
MONTH_DAYS = 30.0
"""Without any history a line may fall on any day of a month."""


@dataclass(frozen=True)
class Window:
    """How far apart two lines may lie to be compared at all.

    The defaults take in everything that is customary: a payment may be booked some days before
    the bank's date and a month after it (statement cycles), and fees, tips and exchange rates
    keep within 15 percent.
    """

    days_before: int = 5
    days_after: int = 31
    tolerance: float = 0.15
    amount_bins: int = 30

    @property
    def lags(self) -> int:
        """How many whole-day lags there are."""
        return self.days_before + self.days_after + 1

    @property
    def log_tolerance(self) -> float:
        """The tolerance as a difference of natural logarithms."""
        return math.log1p(self.tolerance)


def background(right: str) -> Query:
    """How large a share of the lines of a table has each value: what chance alone would give.

    Returns:
        kind, number, text, share: `amount` (number: cents; only amounts that occur twice), `size`
        (number: the bucket; share per unit of logarithm), `day` (number), `prefix` (number: its
        length, text; only those that occur twice), `word` (text), `lines` (number: how many).
    """
    lengths = ", ".join(f"({k})" for k in range(HEAD, PREFIX_MAX + 1))
    return Query(
        f"""WITH total AS (SELECT CAST(count(*) AS DOUBLE) AS lines FROM {right}),
lengths AS (SELECT k FROM (VALUES {lengths}) AS v(k)),
prefixes AS (
  SELECT k, left(text, k) AS prefix, count(*) AS found
  FROM {right} JOIN lengths ON k <= length(text)
  GROUP BY k, left(text, k)
  HAVING count(*) > 1
  UNION ALL
  SELECT {EQUAL}, text, count(*) FROM {right} GROUP BY text HAVING count(*) > 1
),
words AS (
  SELECT word, count(*) AS found
  FROM (SELECT DISTINCT n, unnest(string_split(text, ' ')) AS word FROM {right}) AS w
  WHERE length(word) >= {WORD_MIN}
  GROUP BY word
)
SELECT 'lines' AS kind, CAST(lines AS BIGINT) AS number, '' AS text, 1.0 AS share FROM total
UNION ALL
SELECT 'amount', cents, '', count(*) / any_value(lines)
FROM {right} CROSS JOIN total GROUP BY cents HAVING count(*) > 1
UNION ALL
SELECT 'size', CAST(floor(ln(abs(cents)) / {SIZE_WIDTH}) AS BIGINT), '',
  count(*) / ({SIZE_WIDTH} * any_value(lines))
FROM {right} CROSS JOIN total WHERE cents <> 0
GROUP BY CAST(floor(ln(abs(cents)) / {SIZE_WIDTH}) AS BIGINT)
UNION ALL
SELECT 'day', day, '', count(*) / any_value(lines) FROM {right} CROSS JOIN total GROUP BY day
UNION ALL
SELECT 'prefix', k, prefix, found / lines FROM prefixes CROSS JOIN total
UNION ALL
SELECT 'word', 0, word, found / lines FROM words CROSS JOIN total"""
    )


def common_prefix(one: str, other: str) -> str:
    """SQL for the level of two texts: EQUAL, the length of what they begin with alike, or 0.

    Bisects, so that a pair costs five comparisons and not twenty-six.
    """

    def between(low: int, high: int) -> str:
        # Invariant: the first `low` letters agree (or low is 0), the first `high + 1` do not.
        if low == high or (low == 0 and high < HEAD):
            return str(low)
        middle = HEAD if low == 0 else (low + high + 1) // 2
        return (
            f"CASE WHEN left({one}, {middle}) = left({other}, {middle}) "
            f"THEN {between(middle, high)} ELSE {between(low, middle - 1)} END"
        )

    return f"CASE WHEN {one} = {other} THEN {EQUAL} ELSE {between(0, PREFIX_MAX)} END"


def candidate_pairs(
    left: str, right: str, background: str, window: Window, narrower: str = "true"
) -> Query:
    """Every pair of lines worth a look, and what chance would make of what they have in common.

    Args:
        left: name of the left side's table; a name of this project, never a user's text.
        right: name of the right side's.
        background: name of the table that `background` filled.
        window: how far apart two lines may lie.
        narrower: what else must hold, in SQL of `l.cents` and `r.cents`.

    Returns:
        left_n, right_n, lag (right day − left day), level (`common_prefix`), amount_bin (0: equal;
        1 … the log ratio's bin), boundary (0 equal texts; 1 one ends where the common part ends;
        2 it ends at a word's end; 3 within a word; 4 nothing in common), and the negative logarithm
        of the probability that chance gives the right line: amount_rarity, day_rarity, text_rarity.
    """
    level = common_prefix("l.text", "r.text")
    sql = f"""WITH lefts AS (
  SELECT n, day, cents, text, sign(cents) AS side, left(text, {HEAD}) AS head,
    CAST(floor(ln(abs(cents)) / $width) AS INTEGER) AS size,
    CAST(floor((day - $before) / $lags) AS INTEGER) AS span
  FROM {left} WHERE cents <> 0
),
rights AS (
  SELECT n, day, cents, text, sign(cents) AS side, left(text, {HEAD}) AS head,
    CAST(floor(ln(abs(cents)) / $width) AS INTEGER) AS size,
    CAST(floor(day / $lags) AS INTEGER) - step AS span
  FROM {right} CROSS JOIN (VALUES (0), (1)) AS steps(step)
  WHERE cents <> 0
),
-- A line is found from its own bucket of amounts and from both beside it.
near_rights AS (
  SELECT n, day, cents, side, head, span, size + step AS size
  FROM rights CROSS JOIN (VALUES (-1), (0), (1)) AS steps(step)
),
rare AS (
  SELECT text AS word, share FROM {background}
  WHERE kind = 'word'
    AND share <= (
      SELECT 1 / sqrt(nullif(any_value(number), 0)) FROM {background} WHERE kind = 'lines')
),
left_words AS (
  SELECT DISTINCT w.n, w.head, w.cents, w.side, w.span, w.day, w.word
  FROM (SELECT *, unnest(string_split(text, ' ')) AS word FROM lefts) AS w
  JOIN rare ON rare.word = w.word
),
right_words AS (
  SELECT DISTINCT w.n, w.head, w.cents, w.side, w.span, w.day, w.word, rare.share
  FROM (SELECT *, unnest(string_split(text, ' ')) AS word FROM rights) AS w
  JOIN rare ON rare.word = w.word
),
found AS (
  SELECT l.n AS left_n, r.n AS right_n, 0.0 AS word_rarity
  FROM lefts AS l
  JOIN near_rights AS r
    ON r.head = l.head AND r.size = l.size AND r.span = l.span AND r.side = l.side
  WHERE l.head <> '' AND r.day BETWEEN l.day - $before AND l.day + $after
    AND abs(ln(r.cents / l.cents)) <= $tolerance AND {narrower}
  UNION ALL
  SELECT l.n, r.n, 0.0
  FROM lefts AS l
  JOIN rights AS r ON r.cents = l.cents AND r.span = l.span AND {narrower}
  WHERE (l.head <> r.head OR l.head = '') AND r.day BETWEEN l.day - $before AND l.day + $after
  UNION ALL
  SELECT l.n, r.n, max(-ln(r.share))
  FROM left_words AS l
  JOIN right_words AS r
    ON r.word = l.word AND r.span = l.span AND r.side = l.side
  WHERE l.head <> r.head AND l.cents <> r.cents
    AND r.day BETWEEN l.day - $before AND l.day + $after
    AND abs(ln(r.cents / l.cents)) <= $tolerance AND {narrower}
  GROUP BY l.n, r.n
),
compared AS (
  SELECT found.left_n, found.right_n, found.word_rarity, r.day - l.day AS lag, r.day, r.cents,
    l.text AS left_text, r.text AS right_text, ln(r.cents / l.cents) AS ratio,
    {level} AS level
  FROM found
  JOIN {left} AS l ON l.n = found.left_n
  JOIN {right} AS r ON r.n = found.right_n
),
-- A value that the background never saw is as rare as one line in it.
once AS (
  SELECT 1 / (greatest(any_value(number), {LINES_LEAST}) + 1.0) AS share
  FROM {background} WHERE kind = 'lines'
),
any_day AS (
  SELECT 1.0 / nullif(count(*), 0) AS share FROM {background} WHERE kind = 'day'
)
SELECT left_n, right_n, CAST(lag AS SMALLINT) AS lag, CAST(level AS TINYINT) AS level,
  CAST(CASE
    WHEN ratio = 0 THEN 0
    ELSE 1 + least($bins - 1, greatest(0, floor((ratio + $tolerance) / (2 * $tolerance) * $bins)))
  END AS TINYINT) AS amount_bin,
  CAST(CASE
    WHEN level = {EQUAL} THEN 0
    WHEN level = 0 THEN 4
    WHEN level = length(left_text) OR level = length(right_text) OR level = {PREFIX_MAX} THEN 1
    WHEN substr(left_text, level, 1) = ' '
      OR (substr(left_text, level + 1, 1) = ' ' AND substr(right_text, level + 1, 1) = ' ') THEN 2
    ELSE 3
  END AS TINYINT) AS boundary,
  CAST(-ln(CASE
    WHEN ratio = 0 THEN coalesce(amount.share, once.share)
    ELSE coalesce(size.share, once.share / {SIZE_WIDTH}) * 2 * $tolerance / $bins
  END) AS FLOAT) AS amount_rarity,
  CAST(-ln(coalesce(days.share, any_day.share, 1 / {MONTH_DAYS})) AS FLOAT) AS day_rarity,
  CAST(CASE WHEN level = 0 THEN word_rarity ELSE -ln(coalesce(prefix.share, once.share)) END
    AS FLOAT) AS text_rarity
FROM compared
CROSS JOIN once
CROSS JOIN any_day
LEFT JOIN {background} AS amount ON amount.kind = 'amount' AND amount.number = compared.cents
LEFT JOIN {background} AS size
  ON size.kind = 'size'
  AND size.number = CAST(floor(ln(abs(compared.cents)) / {SIZE_WIDTH}) AS BIGINT)
LEFT JOIN {background} AS days ON days.kind = 'day' AND days.number = compared.day
LEFT JOIN {background} AS prefix
  ON prefix.kind = 'prefix' AND prefix.number = compared.level
  AND prefix.text = left(compared.right_text, CASE
    WHEN compared.level = {EQUAL} THEN length(compared.right_text) ELSE compared.level END)"""
    return Query(
        sql,
        {
            "before": window.days_before,
            "after": window.days_after,
            "lags": window.lags,
            "tolerance": window.log_tolerance,
            # A little wider than the tolerance: neighbouring buckets hold every near amount.
            "width": window.log_tolerance * 1.001,
            "bins": window.amount_bins,
        },
    )
