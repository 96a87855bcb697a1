-- Every charge with what the same card has paid the same vendor before: the usual gap in days and
-- the usual amount of up to six earlier charges, and how far those strayed from it: at most, and in
-- the median, which one late or changed payment does not move. Steady is a series without any.
WITH gaps AS (
  SELECT transaction_id, audit_on, payer, vendor_id, vendor, amount, cents, occurred_on,
    CAST(occurred_on - lag(occurred_on) OVER series AS INTEGER) AS gap_days,
    lag(transaction_id) OVER series AS previous_id, lag(cents) OVER series AS previous_cents
  FROM audit.transactions
  WHERE cents > 0
  WINDOW series AS (PARTITION BY payer, vendor_id ORDER BY occurred_on, transaction_id)
),
before AS (
  SELECT *, count(gap_days) OVER earlier AS gaps_before,
    quantile_disc(gap_days, 0.5) OVER earlier AS usual_gap_days,
    mad(gap_days) OVER earlier AS gap_days_spread,
    min(gap_days) OVER earlier AS gap_days_min, max(gap_days) OVER earlier AS gap_days_max,
    quantile_disc(cents, 0.5) OVER earlier AS usual_cents,
    mad(cents) OVER earlier AS cents_spread,
    min(cents) OVER earlier AS cents_min, max(cents) OVER earlier AS cents_max
  FROM gaps
  WINDOW earlier AS (PARTITION BY payer, vendor_id ORDER BY occurred_on, transaction_id
    ROWS BETWEEN 6 PRECEDING AND 1 PRECEDING)
),
judged AS (
  SELECT *, greatest($tolerance_days, $tolerance_share * usual_gap_days) AS allowed_days,
    greatest(gap_days_max - usual_gap_days, usual_gap_days - gap_days_min)
      <= greatest($tolerance_days, $tolerance_share * usual_gap_days) AS is_steady
  FROM before
)
SELECT * FROM judged
WHERE gaps_before >= $gaps_min AND usual_gap_days >= $gap_days_min
  -- The other half of the gaps stray by more: the median is held to half of what is allowed.
  AND (is_steady OR 2 * gap_days_spread <= allowed_days)
