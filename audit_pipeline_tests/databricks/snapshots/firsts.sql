-- When each vendor, and each pair of card and vendor, was first paid: one row for each pair, of all
-- charges above zero.

SELECT
  vendor_id,
  payer,
  MIN(occurred_at) AS pair_first_at,
  MIN(MIN(occurred_at)) OVER (PARTITION BY vendor_id) AS vendor_first_at
FROM audit.transactions AS transactions
WHERE
  cents > 0
GROUP BY
  vendor_id,
  payer
