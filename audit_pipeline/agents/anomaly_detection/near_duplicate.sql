-- AN-05 The same amount again at the same vendor on the same card within a week, under another id,
-- where that is not what this vendor and this card usually do (`audit.repeats` says how likely it
-- is by chance). From $amount_min on and with $bits_min bits of surprise or more. Measured: these
-- bits.
SELECT audit_on, transaction_id, bits AS measured, $bits_min AS threshold, amount, vendor,
  other_id, CAST(other_at AS DATE) AS other_on, days_apart, same_before, pair_before,
  pair_repeats_before AS repeats_before
FROM audit.repeats
WHERE bits >= $bits_min AND amount >= $amount_min
  AND audit_on BETWEEN $from_on AND $to_on
