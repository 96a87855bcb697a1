-- CX-01 Card charges from $amount_min on that have no matched receipt once the rule has waited,
-- where charges of that category and size customarily have one: at least $usual_share of $seen_min
-- or more. Size goes in powers of two; where too few charges of that size are known, the whole
-- category is asked. Custom is what was so before the first day of the charge's month. Measured:
-- the customary share.
WITH receipted AS (
  SELECT left_id, min(audit_on) AS audit_on
  FROM audit.matches WHERE kind = 'charge_to_receipt' GROUP BY left_id
),
charges AS (
  SELECT entry.transaction_id, entry.occurred_on, entry.amount, entry.vendor, entry.category,
    CAST(floor(round(log2(entry.amount), 9)) AS INTEGER) AS size,
    CAST(date_trunc('month', entry.occurred_on) AS DATE) AS month_on, receipted.audit_on
  FROM audit.transactions AS entry
  LEFT JOIN receipted ON receipted.left_id = entry.transaction_id
  WHERE entry.source = 'credit_card' AND entry.amount >= $amount_min
),
wanted AS (
  SELECT * FROM charges
  WHERE occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
    AND $to_on - CAST($matures_after_days AS INTEGER)
    AND (audit_on IS NULL OR audit_on > occurred_on + CAST($matures_after_days AS INTEGER))
),
months AS (SELECT DISTINCT month_on FROM wanted),
customs AS (
  SELECT months.month_on, earlier.category, earlier.size, count(*) AS seen,
    count(*) FILTER (WHERE earlier.audit_on <= months.month_on) AS receipted
  FROM months
  JOIN charges AS earlier ON earlier.occurred_on < months.month_on - 7
  GROUP BY months.month_on, earlier.category, earlier.size
),
in_category AS (
  SELECT month_on, category, sum(seen) AS seen, sum(receipted) AS receipted
  FROM customs
  GROUP BY month_on, category
),
judged AS (
  SELECT wanted.*,
    CASE WHEN sized.seen >= $seen_min THEN sized.seen ELSE in_category.seen END AS seen,
    CASE WHEN sized.seen >= $seen_min THEN sized.receipted / sized.seen
      ELSE in_category.receipted / in_category.seen END AS usual_share
  FROM wanted
  JOIN in_category
    ON in_category.month_on = wanted.month_on AND in_category.category = wanted.category
  LEFT JOIN customs AS sized ON sized.month_on = wanted.month_on
    AND sized.category = wanted.category AND sized.size = wanted.size
)
SELECT occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on, transaction_id,
  round(usual_share, 4) AS measured, $usual_share AS threshold, amount, vendor, category,
  occurred_on AS charged_on, CAST($matures_after_days AS INTEGER) AS days_open,
  CAST(round(100 * usual_share) AS INTEGER) || ' %' AS usual_share
FROM judged
WHERE seen >= $seen_min AND usual_share >= $usual_share
