-- When each vendor, and each pair of card and vendor, was first paid: one row for each pair, of all
-- charges above zero.
SELECT vendor_id, payer, min(occurred_at) AS pair_first_at,
  min(min(occurred_at)) OVER (PARTITION BY vendor_id) AS vendor_first_at
FROM audit.transactions
WHERE cents > 0
GROUP BY vendor_id, payer
