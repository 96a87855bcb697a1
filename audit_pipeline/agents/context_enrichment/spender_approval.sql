-- CX-05 Charges from $limit on that only their spender approved: the approver has the cardholder's
-- name, or is the one who asked, writing from another address. Left out are charges with a proper
-- approval of somebody else's, and those that one from outside came first for (CX-06). Measured:
-- the amount, against the limit.
SELECT occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on, transaction_id,
  amount AS measured, $limit AS threshold, amount, vendor, occurred_on AS charged_on, cardholder,
  approver, approved_on, email_id
FROM audit.approved_charges
WHERE standing = 'own' AND amount >= $limit
  AND occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
    AND $to_on - CAST($matures_after_days AS INTEGER)
