-- AN-17 Charges of one card that gather just below the approval limit within some weeks, at any
-- vendors: the one that makes it several. Of the card's charges in that time that come somewhere
-- near the limit from below, as many would lie just below it as that band is wide. Measured: bits of
-- surprise at how many do, by Chernoff's bound: n times the divergence of their share from it.
WITH around AS (
  SELECT transaction_id, audit_on, payer, vendor, amount, occurred_at, occurred_on,
    amount >= $limit * (1 - $below_share) AS is_near
  FROM audit.transactions
  WHERE source = 'credit_card' AND amount < $limit AND amount >= $limit * (1 - $around_share)
),
counted AS (
  SELECT entry.audit_on, entry.transaction_id, entry.amount, entry.vendor,
    count(*) AS charges_around, count(*) FILTER (WHERE other.is_near) AS charges,
    sum(other.amount) FILTER (WHERE other.is_near) AS together,
    min(other.occurred_on) FILTER (WHERE other.is_near) AS first_on,
    min_by(other.transaction_id, (other.occurred_at, other.transaction_id))
      FILTER (WHERE other.is_near) AS first_id
  FROM around AS entry
  JOIN around AS other ON other.payer = entry.payer
  WHERE entry.is_near AND entry.audit_on BETWEEN $from_on AND $to_on
    AND other.occurred_on BETWEEN entry.occurred_on - CAST($window_days AS INTEGER)
      AND entry.occurred_on
    AND (other.occurred_at < entry.occurred_at
      OR (other.occurred_at = entry.occurred_at AND other.transaction_id <= entry.transaction_id))
  GROUP BY entry.audit_on, entry.transaction_id, entry.amount, entry.vendor
),
weighed AS (
  SELECT *, round(charges * log2(charges / charges_around * $around_share / $below_share)
    + CASE WHEN charges = charges_around THEN 0 ELSE (charges_around - charges)
      * log2((1 - charges / charges_around) / (1 - $below_share / $around_share)) END, 4) AS bits
  FROM counted
  WHERE charges = $charges_min
)
SELECT audit_on, transaction_id, bits AS measured, $bits_min AS threshold, amount, vendor, charges,
  charges_around, together, first_on, first_id
FROM weighed
WHERE bits >= $bits_min AND charges * $around_share > charges_around * $below_share
