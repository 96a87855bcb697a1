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
  SELECT
    transaction_id,
    row_number,
    audit_on,
    payer,
    vendor_id,
    vendor,
    amount,
    cents,
    occurred_at,
    LAG(transaction_id) OVER same AS other_id,
    LAG(occurred_at) OVER same AS other_at,
    LAG(occurred_at) OVER pair AS previous_at,
    COUNT(*) OVER same - 1 AS same_before,
    COUNT(*) OVER pair - 1 AS pair_before,
    COUNT(*) OVER (
      PARTITION BY payer, vendor_id, cents
      ORDER BY occurred_at NULLS LAST
      RANGE BETWEEN INTERVAL '7' DAYS PRECEDING AND CURRENT ROW
    ) - 1 AS same_in_window,
    COUNT(*) OVER (
      PARTITION BY payer, vendor_id
      ORDER BY occurred_at NULLS LAST
      RANGE BETWEEN INTERVAL '7' DAYS PRECEDING AND CURRENT ROW
    ) - 1 AS pair_in_window,
    COUNT(*) OVER (
      PARTITION BY payer, vendor_id, cents
      ORDER BY occurred_at NULLS LAST
      RANGE BETWEEN INTERVAL '26' HOURS PRECEDING AND INTERVAL '22' HOURS PRECEDING
    ) + COUNT(*) OVER (
      PARTITION BY payer, vendor_id, cents
      ORDER BY occurred_at NULLS LAST
      RANGE BETWEEN INTERVAL '50' HOURS PRECEDING AND INTERVAL '46' HOURS PRECEDING
    ) AS same_at_hour,
    COUNT(*) OVER (
      PARTITION BY payer, vendor_id
      ORDER BY occurred_at NULLS LAST
      RANGE BETWEEN INTERVAL '26' HOURS PRECEDING AND INTERVAL '22' HOURS PRECEDING
    ) + COUNT(*) OVER (
      PARTITION BY payer, vendor_id
      ORDER BY occurred_at NULLS LAST
      RANGE BETWEEN INTERVAL '50' HOURS PRECEDING AND INTERVAL '46' HOURS PRECEDING
    ) AS pair_at_hour,
    COUNT(*) OVER vendor_same - 1 AS vendor_same_before,
    COUNT(*) OVER vendor_all - 1 AS vendor_before
  FROM audit.transactions AS transactions
  WHERE
    cents > 0
  WINDOW same AS (
    PARTITION BY payer, vendor_id, cents
    ORDER BY occurred_at NULLS LAST, row_number NULLS LAST
  ), pair AS (
    PARTITION BY payer, vendor_id
    ORDER BY occurred_at NULLS LAST, row_number NULLS LAST
  ), same_until AS (PARTITION BY payer, vendor_id, cents ORDER BY occurred_at NULLS LAST), pair_until AS (PARTITION BY payer, vendor_id ORDER BY occurred_at NULLS LAST), vendor_same AS (
    PARTITION BY vendor_id, cents
    ORDER BY occurred_at NULLS LAST, row_number NULLS LAST
  ), vendor_all AS (PARTITION BY vendor_id ORDER BY occurred_at NULLS LAST, row_number NULLS LAST)
), apart AS (
  SELECT
    *,
    CAST(CAST(occurred_at AS DATE) - CAST(other_at AS DATE) AS INT) AS days_apart,
    CAST(CAST(occurred_at AS DATE) - CAST(previous_at AS DATE) AS INT) AS gap_days
  FROM charges
), marked AS (
  SELECT
    *,
    CAST(COALESCE(occurred_at - other_at <= INTERVAL '7' DAYS, FALSE) AS INT) AS repeat_week,
    CAST(COALESCE(days_apart <= 2, FALSE) AS INT) AS repeat_soon,
    CAST(COALESCE(occurred_at - other_at <= INTERVAL '2' HOURS, FALSE) OR same_at_hour > 0 AS INT) AS repeat_hour,
    CAST(COALESCE(gap_days <= 7, FALSE) AS INT) AS near_week,
    CAST(COALESCE(gap_days <= 2, FALSE) AS INT) AS near_soon,
    CAST(COALESCE(occurred_at - previous_at <= INTERVAL '2' HOURS, FALSE)
    OR pair_at_hour > 0 AS INT) AS near_hour
  FROM apart
), counted AS (
  SELECT
    *,
    CASE
      WHEN repeat_hour = 1
      THEN SUM(repeat_hour) OVER pair
      WHEN repeat_soon = 1
      THEN SUM(repeat_soon) OVER pair
      ELSE SUM(repeat_week) OVER pair
    END - 1 AS pair_repeats,
    CASE
      WHEN repeat_hour = 1
      THEN SUM(repeat_hour) OVER vendor_all
      WHEN repeat_soon = 1
      THEN SUM(repeat_soon) OVER vendor_all
      ELSE SUM(repeat_week) OVER vendor_all
    END - 1 AS vendor_repeats,
    CASE
      WHEN repeat_hour = 1
      THEN SUM(near_hour) OVER pair
      WHEN repeat_soon = 1
      THEN SUM(near_soon) OVER pair
      ELSE SUM(near_week) OVER pair
    END - 1 AS pair_near,
    CASE
      WHEN repeat_hour = 1
      THEN SUM(near_hour) OVER vendor_all
      WHEN repeat_soon = 1
      THEN SUM(near_soon) OVER vendor_all
      ELSE SUM(near_week) OVER vendor_all
    END - 1 AS vendor_near
  FROM marked
  WINDOW pair AS (
    PARTITION BY payer, vendor_id
    ORDER BY occurred_at NULLS LAST, row_number NULLS LAST
  ), vendor_all AS (PARTITION BY vendor_id ORDER BY occurred_at NULLS LAST, row_number NULLS LAST)
), presumed AS (
  SELECT
    *,
    LEAST(pair_repeats, 1 + :duplicate_share * pair_before) AS pair_duplicates,
    LEAST(vendor_repeats, 1 + :duplicate_share * vendor_before) AS vendor_duplicates
  FROM counted
  WHERE
    repeat_week = 1
), rated AS (
  SELECT
    *,
    CAST((
      GREATEST(same_before - same_in_window, 0) + CAST(:prior_weight * (
        GREATEST(vendor_same_before - same_in_window, 0) + :prior_weight * :coincidence_share
      ) AS DOUBLE) / (
        GREATEST(vendor_before - pair_in_window, 0) + :prior_weight
      )
    ) AS DOUBLE) / (
      GREATEST(pair_before - pair_in_window, 0) + :prior_weight
    ) AS same_share,
    CAST((
      GREATEST(pair_near - pair_duplicates, 0) + CAST(:prior_weight * (
        GREATEST(vendor_near - vendor_duplicates, 0) + :prior_weight * :soon_share
      ) AS DOUBLE) / (
        vendor_before + :prior_weight
      )
    ) AS DOUBLE) / (
      pair_before + :prior_weight
    ) AS near_share,
    CAST((
      pair_repeats - pair_duplicates + CAST(:prior_weight * (
        vendor_repeats - vendor_duplicates + :prior_weight * :habit_share
      ) AS DOUBLE) / (
        vendor_before + :prior_weight
      )
    ) AS DOUBLE) / (
      pair_before + :prior_weight
    ) AS habit_share
  FROM presumed
)
SELECT
  transaction_id,
  audit_on,
  payer,
  vendor_id,
  vendor,
  amount,
  other_id,
  other_at,
  days_apart,
  GREATEST(same_before - same_in_window, 0) AS same_before,
  GREATEST(pair_before - pair_in_window, 0) AS pair_before,
  pair_repeats AS pair_repeats_before,
  (
    ROUND(
      (
        -LOG2(
          GREATEST(
            LEAST(near_share, 1) * (
              1 - POWER(
                1 - LEAST(same_share, 0.999999),
                CASE WHEN days_apart <= 2 THEN 1 ELSE GREATEST(pair_in_window, 1) END
              )
            ),
            LEAST(habit_share, 1),
            0.000001
          )
        ) - GREATEST(days_apart - 1, 0) - CASE WHEN repeat_hour = 1 THEN 0 ELSE :other_hour_bits END
      ) * 10000
    ) / 10000
  ) AS bits
FROM rated
