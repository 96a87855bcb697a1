-- AN-09 As AN-05, for amounts from $amount_min to below $amount_below and at most $days_max days
-- after the charge that they repeat: worth a line in a list, not a reviewer's morning. Measured:
-- bits of surprise, from $bits_min on.
SELECT audit_on, transaction_id, bits AS measured, $bits_min AS threshold, amount, vendor,
  other_id, CAST(other_at AS DATE) AS other_on, days_apart, same_before, pair_before,
  pair_repeats_before AS repeats_before
FROM audit.repeats
WHERE bits >= $bits_min AND amount >= $amount_min AND amount < $amount_below
  AND days_apart <= $days_max AND audit_on BETWEEN $from_on AND $to_on
