-- Charges of the same amount at the same vendor on the same card within a week, under another id,
-- each with the chance that this is nothing. Two innocent stories are told, and the likelier one
-- counts: the amount is a common price there (how often this card and this vendor charged exactly
-- it before, over the charges that had the chance to coincide), or buying the same twice is a
-- habit there (how often earlier charges of this card and this vendor were repeats themselves).
-- A shop with one price, or a hotel that is always booked by the room, is no duplicate.
WITH charges AS (
  SELECT transaction_id, audit_on, payer, vendor_id, vendor, amount, cents, occurred_at,
    lag(transaction_id) OVER same AS other_id,
    lag(occurred_at) OVER same AS other_at,
    count(*) OVER same - 1 AS same_before,
    count(*) OVER pair - 1 AS pair_before,
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
  SELECT *, coalesce(occurred_at - other_at <= INTERVAL '7 days', false) AS is_repeat
  FROM charges
),
counted AS (
  SELECT *,
    count(CASE WHEN is_repeat THEN 1 END) OVER (PARTITION BY payer, vendor_id
      ORDER BY occurred_at, transaction_id) - 1 AS pair_repeats_before,
    count(CASE WHEN is_repeat THEN 1 END) OVER (PARTITION BY vendor_id
      ORDER BY occurred_at, transaction_id) - 1 AS vendor_repeats_before
  FROM marked
),
rated AS (
  SELECT *,
    (greatest(same_before - same_in_window, 0)
      + $prior_weight * (greatest(vendor_same_before - same_in_window, 0)
          + $prior_weight * $coincidence_share)
        / (greatest(vendor_before - pair_in_window, 0) + $prior_weight))
      / (greatest(pair_before - pair_in_window, 0) + $prior_weight) AS same_share,
    (pair_repeats_before
      + $prior_weight * (vendor_repeats_before + $prior_weight * $coincidence_share)
        / (vendor_before + $prior_weight))
      / (pair_before + $prior_weight) AS habit_share
  FROM counted
  WHERE is_repeat AND amount >= $amount_min
)
SELECT transaction_id, audit_on, payer, vendor_id, vendor, amount, other_id, other_at,
  CAST(CAST(occurred_at AS DATE) - CAST(other_at AS DATE) AS INTEGER) AS days_apart,
  greatest(same_before - same_in_window, 0) AS same_before,
  greatest(pair_before - pair_in_window, 0) AS pair_before, pair_repeats_before,
  round(-log2(greatest(
    1 - power(1 - least(same_share, 0.999999), greatest(pair_in_window, 1)),
    least(habit_share, 1), 0.000001)), 4) AS bits
FROM rated
