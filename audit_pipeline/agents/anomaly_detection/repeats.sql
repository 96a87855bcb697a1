-- Charges of the same amount at the same vendor on the same card within a week, under another id,
-- each with the chance that this is nothing. Two innocent stories are told, and the likelier one
-- counts: two charges so soon after each other are usual there and this is a common price (how
-- often this card and this vendor had charges so near before, times how often they charged exactly
-- this amount), or buying the same twice is a habit there (how often earlier charges of this card
-- and this vendor were repeats themselves; one repeat is no habit, it may be a duplicate too).
-- A charge that was sent twice comes within a day: every doubling of the distance takes a bit away.
-- A shop with one price, or a hotel that is always booked by the room, is no duplicate; a
-- subscription that is charged twice on a day is one.
WITH charges AS (
  SELECT transaction_id, audit_on, payer, vendor_id, vendor, amount, cents, occurred_at,
    lag(transaction_id) OVER same AS other_id,
    lag(occurred_at) OVER same AS other_at,
    count(*) OVER same - 1 AS same_before,
    count(*) OVER pair - 1 AS pair_before,
    CAST(CAST(occurred_at AS DATE) - CAST(lag(occurred_at) OVER pair AS DATE) AS INTEGER) AS gap,
    count(*) OVER (
      PARTITION BY payer, vendor_id, cents ORDER BY occurred_at
      RANGE BETWEEN INTERVAL '7 days' PRECEDING AND CURRENT ROW) - 1 AS same_in_window,
    count(*) OVER (
      PARTITION BY payer, vendor_id ORDER BY occurred_at
      RANGE BETWEEN INTERVAL '7 days' PRECEDING AND CURRENT ROW) - 1 AS pair_in_window,
    count(*) OVER vendor_same - 1 AS vendor_same_before,
    count(*) OVER vendor_all - 1 AS vendor_before
  FROM audit.transactions
  WHERE cents > 0
  WINDOW
    same AS (PARTITION BY payer, vendor_id, cents ORDER BY occurred_at, transaction_id),
    pair AS (PARTITION BY payer, vendor_id ORDER BY occurred_at, transaction_id),
    vendor_same AS (PARTITION BY vendor_id, cents ORDER BY occurred_at, transaction_id),
    vendor_all AS (PARTITION BY vendor_id ORDER BY occurred_at, transaction_id)
),
marked AS (
  SELECT *, coalesce(occurred_at - other_at <= INTERVAL '7 days', false) AS is_repeat,
    CAST(CAST(occurred_at AS DATE) - CAST(other_at AS DATE) AS INTEGER) AS days_apart
  FROM charges
),
counted AS (
  SELECT *,
    count(CASE WHEN is_repeat THEN 1 END) OVER pair - CAST(is_repeat AS INTEGER)
      AS pair_repeats_before,
    count(CASE WHEN is_repeat THEN 1 END) OVER vendor_all - CAST(is_repeat AS INTEGER)
      AS vendor_repeats_before,
    count(CASE WHEN gap <= 1 THEN 1 END) OVER pair - CAST(coalesce(gap <= 1, false) AS INTEGER)
      AS pair_next_day_before,
    count(CASE WHEN gap <= 7 THEN 1 END) OVER pair - CAST(coalesce(gap <= 7, false) AS INTEGER)
      AS pair_next_week_before,
    count(CASE WHEN gap <= 1 THEN 1 END) OVER vendor_all
      - CAST(coalesce(gap <= 1, false) AS INTEGER) AS vendor_next_day_before,
    count(CASE WHEN gap <= 7 THEN 1 END) OVER vendor_all
      - CAST(coalesce(gap <= 7, false) AS INTEGER) AS vendor_next_week_before
  FROM marked
  WINDOW
    pair AS (PARTITION BY payer, vendor_id ORDER BY occurred_at, transaction_id),
    vendor_all AS (PARTITION BY vendor_id ORDER BY occurred_at, transaction_id)
),
rated AS (
  SELECT *,
    (greatest(same_before - same_in_window, 0)
      + $prior_weight * (greatest(vendor_same_before - same_in_window, 0)
          + $prior_weight * $coincidence_share)
        / (greatest(vendor_before - pair_in_window, 0) + $prior_weight))
      / (greatest(pair_before - pair_in_window, 0) + $prior_weight) AS same_share,
    (CASE WHEN days_apart <= 1 THEN pair_next_day_before ELSE pair_next_week_before END
      + $prior_weight
        * (CASE WHEN days_apart <= 1 THEN vendor_next_day_before ELSE vendor_next_week_before END
          + $prior_weight * $soon_share) / (vendor_before + $prior_weight))
      / (pair_before + $prior_weight) AS near_share,
    (greatest(pair_repeats_before - 1, 0)
      + $prior_weight * (greatest(vendor_repeats_before - 1, 0)
          + $prior_weight * $coincidence_share) / (vendor_before + $prior_weight))
      / (pair_before + $prior_weight) AS habit_share
  FROM counted
  WHERE is_repeat
)
SELECT transaction_id, audit_on, payer, vendor_id, vendor, amount, other_id, other_at, days_apart,
  greatest(same_before - same_in_window, 0) AS same_before,
  greatest(pair_before - pair_in_window, 0) AS pair_before, pair_repeats_before,
  round(-log2(greatest(
    least(near_share, 1) * (1 - power(1 - least(same_share, 0.999999),
      CASE WHEN days_apart <= 1 THEN 1 ELSE greatest(pair_in_window, 1) END)),
    least(habit_share, 1), 0.000001)) - log2(greatest(days_apart, 1)), 4) AS bits
FROM rated
