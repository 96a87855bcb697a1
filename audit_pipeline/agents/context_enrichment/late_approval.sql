-- CX-02 Charges from $limit on that were approved only after they were made, but within the days
-- that the rule waits, by somebody else from a domain of the company. Asked only where such charges
-- customarily are approved beforehand: at least $seen_min of them, and $usual_share of them, before
-- the charge's month. Measured: days from the charge to the approval.
SELECT charge.occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on,
  charge.transaction_id, date_diff('day', charge.occurred_on, charge.approved_on) AS measured, 0 AS threshold,
  charge.amount, charge.vendor, charge.occurred_on AS charged_on, charge.approver,
  charge.approved_on, date_diff('day', charge.occurred_on, charge.approved_on) AS days_after, charge.email_id
FROM audit.approved_charges AS charge
JOIN audit.approval_customs AS custom
  ON custom.month_on = CAST(date_trunc('month', charge.occurred_on) AS DATE)
WHERE charge.standing = 'proper' AND charge.approved_at > charge.occurred_at
  AND charge.approved_on <= charge.occurred_on + CAST($matures_after_days AS INTEGER)
  AND charge.amount >= $limit AND custom.seen >= $seen_min AND custom.usual_share >= $usual_share
  AND charge.occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
    AND $to_on - CAST($matures_after_days AS INTEGER)
