-- How many charges from the limit on, dated before each month, are known, and which share of them
-- was approved by mail beforehand, by somebody else from a domain of the company. One row for each
-- month that has such charges and is not the first.
WITH months AS (
  SELECT DISTINCT CAST(date_trunc('month', occurred_on) AS DATE) AS month_on
  FROM audit.approved_charges
)
SELECT months.month_on, count(*) AS seen,
  count(*) FILTER (WHERE charge.standing = 'proper'
    AND charge.approved_at <= charge.occurred_at) / count(*) AS usual_share
FROM months
JOIN audit.approved_charges AS charge ON charge.occurred_on < months.month_on
GROUP BY months.month_on
