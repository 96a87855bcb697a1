-- RC-07 Charges above their own matched receipt by more than is customary in their category (a tip)
-- and $margin on top. The customary share is the 99th percentile of what the category's charges
-- matched before that month were above their receipts. Left out are categories with fewer than
-- $seen_min of these. Measured: the share above the receipt.
WITH matched AS (
  SELECT match.audit_on, match.left_id AS transaction_id, match.right_id AS receipt_id,
    entry.amount, entry.vendor, entry.category, receipt.amount AS receipt_amount,
    (entry.cents - receipt.cents) / receipt.cents AS share,
    date_trunc('month', match.audit_on) AS month_on, match.posterior, match.terms, match.rivals
  FROM audit.matches AS match
  JOIN audit.transactions AS entry ON entry.transaction_id = match.left_id
  JOIN audit.receipts AS receipt ON receipt.receipt_id = match.right_id
  WHERE match.kind = 'charge_to_receipt'
),
months AS (
  SELECT DISTINCT month_on FROM matched WHERE audit_on BETWEEN $from_on AND $to_on
),
customary AS (
  SELECT months.month_on, earlier.category, count(*) AS seen,
    quantile_disc(earlier.share, 0.99) AS usual_share
  FROM months
  JOIN matched AS earlier ON earlier.audit_on < months.month_on
  GROUP BY months.month_on, earlier.category
)
SELECT matched.audit_on, matched.transaction_id, round(matched.share, 4) AS measured,
  round(customary.usual_share + $margin, 4) AS threshold, matched.amount, matched.vendor,
  matched.receipt_id, matched.receipt_amount,
  CAST(round(customary.usual_share, 4) AS DECIMAL(38,4)) AS usual_share,
  CAST(round(matched.share, 4) AS DECIMAL(38,4)) AS share, matched.posterior AS match_probability,
  matched.terms AS match_terms, matched.rivals AS match_rivals
FROM matched
JOIN customary
  ON customary.month_on = matched.month_on AND customary.category = matched.category
WHERE customary.seen >= $seen_min AND matched.share > customary.usual_share + $margin
  AND matched.audit_on BETWEEN $from_on AND $to_on
QUALIFY row_number() OVER (
  PARTITION BY matched.audit_on, matched.transaction_id ORDER BY matched.receipt_id) = 1
