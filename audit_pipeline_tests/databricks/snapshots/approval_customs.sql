-- How many charges from the limit on, dated before each month, are known, and which share of them
-- was approved by mail beforehand, by somebody else from a domain of the company. One row for each
-- month that has such charges and is not the first.

WITH months AS (
  SELECT DISTINCT
    CAST(DATE_TRUNC('MONTH', occurred_on) AS DATE) AS month_on
  FROM audit.approved_charges AS approved_charges
)
SELECT
  months.month_on,
  COUNT(*) AS seen,
  CAST(COUNT(*) FILTER(WHERE
    charge.standing = 'proper' AND charge.approved_at <= charge.occurred_at) AS DOUBLE) / COUNT(*) AS usual_share
FROM months
JOIN audit.approved_charges AS charge
  ON charge.occurred_on < months.month_on
GROUP BY
  months.month_on
