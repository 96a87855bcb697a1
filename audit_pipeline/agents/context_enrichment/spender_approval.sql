-- CX-05 Charges from the approval limit on that only their spender approved: the approver has the
-- cardholder's name, or is the one who asked, writing from another address.
SELECT occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on, transaction_id,
  amount AS measured, $limit AS threshold, amount, vendor, occurred_on AS charged_on, cardholder,
  approver, approved_on, email_id
FROM audit.approved_charges
WHERE standing = 'own' AND amount >= $limit
  AND occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
    AND $to_on - CAST($matures_after_days AS INTEGER)
