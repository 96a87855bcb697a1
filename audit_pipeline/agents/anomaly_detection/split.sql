-- AN-06 One purchase cut into parts below the approval limit: charges of one card at one vendor
-- within a few days, each below the limit and together at or above it, where this card does not
-- usually buy from this vendor that often. A batch of many charges is not one purchase that was cut.
WITH charges AS (
  SELECT transaction_id, occurred_on, payer, vendor_id, vendor, amount,
    count(*) OVER near AS parts, sum(amount) OVER near AS parts_total,
    max(amount) OVER near AS part_max,
    count(*) OVER before AS charges_before
  FROM audit.transactions
  WHERE source = 'credit_card' AND amount BETWEEN $limit * $part_share_min AND $limit - 0.01
  WINDOW
    near AS (PARTITION BY payer, vendor_id ORDER BY occurred_on
      RANGE BETWEEN INTERVAL '2 days' PRECEDING AND INTERVAL '2 days' FOLLOWING),
    before AS (PARTITION BY payer, vendor_id ORDER BY occurred_on
      RANGE BETWEEN INTERVAL '92 days' PRECEDING AND INTERVAL '3 days' PRECEDING)
)
SELECT occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on, transaction_id,
  parts_total AS measured, $limit AS threshold, amount, vendor, parts, parts_total,
  charges_before, round(charges_before * 5 / 90, 2) AS usual_parts
FROM charges
WHERE parts BETWEEN 2 AND $parts_max AND parts_total >= $limit
  AND charges_before * 5 / 90 < $usual_max
  AND occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
    AND $to_on - CAST($matures_after_days AS INTEGER)
