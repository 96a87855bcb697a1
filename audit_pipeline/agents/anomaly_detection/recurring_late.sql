-- AN-03 A recurring payment that came later than it ever did before, by more than the days that its
-- series may stray. Compared are the days since the payment before with the usual gap. Left out are
-- series that are not steady, and those of which an earlier amount or this one strays by more than
-- $stable_share of the usual one. Measured: days after the usual day.
SELECT audit_on, transaction_id, gap_days - usual_gap_days AS measured,
  ceil(allowed_days + gap_days_max - usual_gap_days) AS threshold, amount, vendor, gap_days, usual_gap_days,
  gap_days - usual_gap_days AS days_late, gaps_before + 1 AS payments_before, previous_id
FROM audit.recurring
WHERE is_steady AND gap_days - usual_gap_days > ceil(allowed_days + gap_days_max - usual_gap_days)
  AND cents_max - cents_min <= $stable_share * usual_cents
  AND abs(cents - usual_cents) <= $stable_share * usual_cents
  AND audit_on BETWEEN $from_on AND $to_on
