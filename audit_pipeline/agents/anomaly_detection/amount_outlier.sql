-- AN-01 An amount far above what this card pays this vendor, or where they have little history,
-- above what the vendor usually charges: $sigmas_min robust sigmas or more on the logarithm of the
-- amount, at least $times_min times the usual amount and $difference_min above it. Left out are
-- charges of which neither the pair nor the vendor has $charges_min others. Measured: the sigmas.
SELECT audit_on, transaction_id, distance AS measured, $sigmas_min AS threshold, amount, vendor,
  usual_amount, CAST(round(amount / usual_amount, 1) AS DECIMAL(38,1)) AS times_usual, pair_charges, vendor_charges
FROM audit.scores
WHERE distance >= $sigmas_min AND greatest(pair_charges, vendor_charges) >= $charges_min
  AND amount >= $times_min * usual_amount AND amount - usual_amount >= $difference_min
  AND audit_on BETWEEN $from_on AND $to_on
