-- CX-03 Charges from $limit on for which no approval was found within the days that the rule waits,
-- where charges of that size customarily have one: at least $seen_min of them, and $usual_share of
-- them, before the charge's month. One by the spender, or from outside, is CX-05 or CX-06.
-- Measured: the amount.
SELECT charge.occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on,
  charge.transaction_id, charge.amount AS measured, $limit AS threshold,
  charge.amount, charge.vendor, charge.occurred_on AS charged_on, $limit AS approval_limit,
  CAST(round(100 * custom.usual_share) AS INTEGER) || ' %' AS usual_share
FROM audit.approved_charges AS charge
JOIN audit.approval_customs AS custom
  ON custom.month_on = CAST(date_trunc('month', charge.occurred_on) AS DATE)
WHERE (charge.approved_on IS NULL
    OR charge.approved_on > charge.occurred_on + CAST($matures_after_days AS INTEGER))
  AND charge.amount >= $limit AND custom.seen >= $seen_min AND custom.usual_share >= $usual_share
  AND charge.occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
    AND $to_on - CAST($matures_after_days AS INTEGER)
