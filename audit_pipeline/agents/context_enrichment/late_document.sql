-- CX-07 Documents made after the fact: an approval more than two weeks after its charge, when its
-- absence had been found, and a receipt dated later than receipts are. Each belongs to the last
-- charge of its exact amount and its vendor that has no such document, if it belongs to no other;
-- it is asked for when the charges that it could have preceded are there too. When a receipt was
-- handed in is not in gold: its own date is what counts.
WITH approvals AS (
  SELECT fit.approved_on AS made_on, fit.transaction_id, fit.occurred_on, fit.amount, fit.vendor,
    'The approval' AS document, fit.email_id, CAST(NULL AS VARCHAR) AS receipt_id, 14 AS usual_days
  FROM audit.approval_fits AS fit
  JOIN audit.approved_charges AS charge ON charge.transaction_id = fit.transaction_id
  LEFT JOIN audit.approval_fits AS other ON other.email_id = fit.email_id
    AND other.approved_on <= other.occurred_on + 14
    AND other.occurred_on <= fit.approved_on + CAST($matures_after_days AS INTEGER)
  WHERE fit.amount >= $limit AND fit.approved_on > fit.occurred_on + 14
    AND fit.approved_on <= fit.occurred_on + CAST($late_days AS INTEGER)
    AND charge.email_id IS NULL AND other.email_id IS NULL
),
-- Most receipts are somebody's: those fall away before a charge is looked for.
unmatched AS (
  SELECT receipt.receipt_id, receipt.line_on, receipt.cents, receipt.person,
    coalesce(entity.vendor_name, named.vendor_key) AS payee
  FROM audit.receipts AS receipt
  JOIN audit.vendor_keys AS named ON named.vendor = receipt.vendor
  JOIN audit.vendor_entities AS entity ON entity.vendor_key = named.vendor_key
  LEFT JOIN audit.matches AS match ON match.right_id = receipt.receipt_id
    AND match.kind = 'charge_to_receipt'
    AND match.audit_on <= receipt.line_on + CAST($matures_after_days AS INTEGER)
  WHERE match.right_id IS NULL
),
receipts AS (
  SELECT receipt.line_on AS made_on, entry.transaction_id, entry.occurred_on, entry.amount,
    entry.vendor, 'The receipt' AS document, CAST(NULL AS VARCHAR) AS email_id,
    receipt.receipt_id, CAST($receipt_days AS INTEGER) AS usual_days
  FROM unmatched AS receipt
  JOIN audit.transactions AS entry ON entry.cents = receipt.cents
    AND coalesce(entry.vendor_name, entry.vendor_key) = receipt.payee
    AND receipt.line_on BETWEEN entry.occurred_on + CAST($receipt_days AS INTEGER) + 1
      AND entry.occurred_on + CAST($late_days AS INTEGER)
    AND (receipt.person = '' OR entry.cardholder = ''
      OR receipt.person = lower(entry.cardholder))
  LEFT JOIN audit.matches AS match ON match.left_id = entry.transaction_id
    AND match.kind = 'charge_to_receipt'
    AND match.audit_on <= receipt.line_on + CAST($matures_after_days AS INTEGER)
  WHERE entry.source = 'credit_card' AND entry.amount >= $amount_min AND match.left_id IS NULL
),
belonging AS (
  SELECT * FROM (SELECT * FROM approvals UNION ALL SELECT * FROM receipts) AS documents
  QUALIFY row_number() OVER (PARTITION BY coalesce(email_id, receipt_id), document
    ORDER BY occurred_on DESC, transaction_id) = 1
)
SELECT made_on + CAST($matures_after_days AS INTEGER) AS audit_on, transaction_id,
  date_diff('day', occurred_on, made_on) AS measured, usual_days AS threshold, amount, vendor,
  occurred_on AS charged_on, document, made_on, date_diff('day', occurred_on, made_on) AS days_after,
  email_id, receipt_id
FROM belonging
WHERE made_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
    AND $to_on - CAST($matures_after_days AS INTEGER)
QUALIFY row_number() OVER (PARTITION BY made_on, transaction_id
  ORDER BY document, email_id, receipt_id) = 1
