-- AN-02 A recurring payment whose amount was stable and is not any more: off from the usual amount,
-- and from the one before, by more than $drift_share of the usual one and $spreads times its median
-- spread, so that a price that has changed is told once. Stable is a steady series whose amounts
-- lie within $stable_share, or one of $gaps_robust gaps whose median spread does. Left out are
-- payments far from their day. Measured: the share by which it is off.
SELECT audit_on, transaction_id,
  round(abs(cents - usual_cents) / usual_cents, 4) AS measured,
  round($drift_share + $spreads * cents_spread / usual_cents, 4) AS threshold,
  amount, vendor, CAST(usual_cents / 100 AS DECIMAL(18,2)) AS usual_amount, usual_gap_days,
  gaps_before + 1 AS payments_before, previous_id
FROM audit.recurring
WHERE (is_steady AND cents_max - cents_min <= $stable_share * usual_cents
    OR gaps_before >= $gaps_robust AND cents_spread <= $stable_share * usual_cents)
  AND abs(cents - usual_cents) > $drift_share * usual_cents + $spreads * cents_spread
  AND abs(cents - previous_cents) > $drift_share * usual_cents + $spreads * cents_spread
  AND gap_days BETWEEN usual_gap_days - 2 * allowed_days AND usual_gap_days + 2 * allowed_days
  AND audit_on BETWEEN $from_on AND $to_on
