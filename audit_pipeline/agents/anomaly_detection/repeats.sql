-- Charges of the same amount at the same vendor on the same card within a week, under another id,
-- each with the chance that this is nothing. Two innocent stories are told, and the likelier one
-- counts: two charges so close to each other are usual there and this is a common price (how often
-- this card and this vendor had charges so close before, times how often they charged exactly this
-- amount), or buying the same twice is a habit there (how often earlier charges of this card and
-- this vendor were such repeats themselves). Repeats that duplicates alone would explain are no
-- habit: one, and a small share of the charges.
-- Close is, first, within two days at the same hour, which is how a charge comes that was sent or
-- swiped again; second, within two days at any hour; last, within the week. All but the first are
-- believed less, and so is every day after the next. Where the data have days only, all hours are
-- the same. Of two charges at the same instant the later row of the ledger is the repeat.
-- A shop with one price, or a hotel that is always booked by the room, is no duplicate; a
-- subscription that is charged twice on a day is one.
WITH charges AS (
  SELECT transaction_id, row_number, audit_on, payer, vendor_id, vendor, amount, cents, occurred_at,
    lag(transaction_id) OVER same AS other_id,
    lag(occurred_at) OVER same AS other_at,
    lag(occurred_at) OVER pair AS previous_at,
    count(*) OVER same - 1 AS same_before,
    count(*) OVER pair - 1 AS pair_before,
    count(*) OVER (same_until RANGE BETWEEN INTERVAL '7 days' PRECEDING AND CURRENT ROW) - 1
      AS same_in_window,
    count(*) OVER (pair_until RANGE BETWEEN INTERVAL '7 days' PRECEDING AND CURRENT ROW) - 1
      AS pair_in_window,
    count(*) OVER (same_until
      RANGE BETWEEN INTERVAL '26 hours' PRECEDING AND INTERVAL '22 hours' PRECEDING)
      + count(*) OVER (same_until
        RANGE BETWEEN INTERVAL '50 hours' PRECEDING AND INTERVAL '46 hours' PRECEDING)
      AS same_at_hour,
    count(*) OVER (pair_until
      RANGE BETWEEN INTERVAL '26 hours' PRECEDING AND INTERVAL '22 hours' PRECEDING)
      + count(*) OVER (pair_until
        RANGE BETWEEN INTERVAL '50 hours' PRECEDING AND INTERVAL '46 hours' PRECEDING)
      AS pair_at_hour,
    count(*) OVER vendor_same - 1 AS vendor_same_before,
    count(*) OVER vendor_all - 1 AS vendor_before
  FROM audit.transactions
  WHERE cents > 0
  WINDOW
    same AS (PARTITION BY payer, vendor_id, cents ORDER BY occurred_at, row_number),
    pair AS (PARTITION BY payer, vendor_id ORDER BY occurred_at, row_number),
    same_until AS (PARTITION BY payer, vendor_id, cents ORDER BY occurred_at),
    pair_until AS (PARTITION BY payer, vendor_id ORDER BY occurred_at),
    vendor_same AS (PARTITION BY vendor_id, cents ORDER BY occurred_at, row_number),
    vendor_all AS (PARTITION BY vendor_id ORDER BY occurred_at, row_number)
),
apart AS (
  SELECT *,
    CAST(CAST(occurred_at AS DATE) - CAST(other_at AS DATE) AS INTEGER) AS days_apart,
    CAST(CAST(occurred_at AS DATE) - CAST(previous_at AS DATE) AS INTEGER) AS gap_days
  FROM charges
),
marked AS (
  SELECT *,
    CAST(coalesce(occurred_at - other_at <= INTERVAL '7 days', false) AS INTEGER) AS repeat_week,
    CAST(coalesce(days_apart <= 2, false) AS INTEGER) AS repeat_soon,
    CAST(coalesce(occurred_at - other_at <= INTERVAL '2 hours', false) OR same_at_hour > 0
      AS INTEGER) AS repeat_hour,
    CAST(coalesce(gap_days <= 7, false) AS INTEGER) AS near_week,
    CAST(coalesce(gap_days <= 2, false) AS INTEGER) AS near_soon,
    CAST(coalesce(occurred_at - previous_at <= INTERVAL '2 hours', false) OR pair_at_hour > 0
      AS INTEGER) AS near_hour
  FROM apart
),
counted AS (
  SELECT *,
    CASE WHEN repeat_hour = 1 THEN sum(repeat_hour) OVER pair
      WHEN repeat_soon = 1 THEN sum(repeat_soon) OVER pair
      ELSE sum(repeat_week) OVER pair END - 1 AS pair_repeats,
    CASE WHEN repeat_hour = 1 THEN sum(repeat_hour) OVER vendor_all
      WHEN repeat_soon = 1 THEN sum(repeat_soon) OVER vendor_all
      ELSE sum(repeat_week) OVER vendor_all END - 1 AS vendor_repeats,
    CASE WHEN repeat_hour = 1 THEN sum(near_hour) OVER pair
      WHEN repeat_soon = 1 THEN sum(near_soon) OVER pair
      ELSE sum(near_week) OVER pair END - 1 AS pair_near,
    CASE WHEN repeat_hour = 1 THEN sum(near_hour) OVER vendor_all
      WHEN repeat_soon = 1 THEN sum(near_soon) OVER vendor_all
      ELSE sum(near_week) OVER vendor_all END - 1 AS vendor_near
  FROM marked
  WINDOW
    pair AS (PARTITION BY payer, vendor_id ORDER BY occurred_at, row_number),
    vendor_all AS (PARTITION BY vendor_id ORDER BY occurred_at, row_number)
),
presumed AS (
  SELECT *,
    least(pair_repeats, 1 + $duplicate_share * pair_before) AS pair_duplicates,
    least(vendor_repeats, 1 + $duplicate_share * vendor_before) AS vendor_duplicates
  FROM counted
  WHERE repeat_week = 1
),
rated AS (
  SELECT *,
    (greatest(same_before - same_in_window, 0)
      + $prior_weight * (greatest(vendor_same_before - same_in_window, 0)
          + $prior_weight * $coincidence_share)
        / (greatest(vendor_before - pair_in_window, 0) + $prior_weight))
      / (greatest(pair_before - pair_in_window, 0) + $prior_weight) AS same_share,
    (greatest(pair_near - pair_duplicates, 0)
      + $prior_weight * (greatest(vendor_near - vendor_duplicates, 0)
          + $prior_weight * $soon_share) / (vendor_before + $prior_weight))
      / (pair_before + $prior_weight) AS near_share,
    (pair_repeats - pair_duplicates
      + $prior_weight * (vendor_repeats - vendor_duplicates + $prior_weight * $habit_share)
        / (vendor_before + $prior_weight))
      / (pair_before + $prior_weight) AS habit_share
  FROM presumed
)
SELECT transaction_id, audit_on, payer, vendor_id, vendor, amount, other_id, other_at, days_apart,
  greatest(same_before - same_in_window, 0) AS same_before,
  greatest(pair_before - pair_in_window, 0) AS pair_before, pair_repeats AS pair_repeats_before,
  round(-log2(greatest(
    least(near_share, 1) * (1 - power(1 - least(same_share, 0.999999),
      CASE WHEN days_apart <= 2 THEN 1 ELSE greatest(pair_in_window, 1) END)),
    least(habit_share, 1), 0.000001))
    - greatest(days_apart - 1, 0)
    - CASE WHEN repeat_hour = 1 THEN 0 ELSE $other_hour_bits END, 4) AS bits
FROM rated
