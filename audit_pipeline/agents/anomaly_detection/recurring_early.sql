-- AN-14 A recurring payment that was paid again much too early, after $early_share of its usual gap
-- or sooner and at about the usual amount: charged twice. (Late is AN-03.) Left out are series that
-- are not steady, that have fewer than $gaps_min gaps, or whose amounts stray by more than
-- $stable_share. Measured: the gap as a share of the usual one.
SELECT audit_on, transaction_id, round(gap_days / usual_gap_days, 4) AS measured,
  $early_share AS threshold, amount, vendor, gap_days, usual_gap_days,
  gaps_before + 1 AS payments_before, previous_id
FROM audit.recurring
WHERE is_steady AND gap_days <= $early_share * usual_gap_days AND gaps_before >= $gaps_min
  AND cents_max - cents_min <= $stable_share * usual_cents
  AND abs(cents - usual_cents) <= $stable_share * usual_cents
  AND audit_on BETWEEN $from_on AND $to_on
