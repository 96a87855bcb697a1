-- AN-12 A card charge just below the approval limit, on a card and at a vendor that hardly ever have
-- a charge of about that size. A sign, no more: something has to cost that much. Measured: bits of
-- surprise at the share of earlier charges around the limit, of the card or of the vendor, whichever
-- is larger; each starts from the share that the rules file gives.
WITH near AS (
  SELECT transaction_id, audit_on, payer, vendor_id, vendor, amount, occurred_at
  FROM audit.transactions
  WHERE source = 'credit_card' AND amount < $limit AND amount >= $limit * (1 - $below_share)
    AND audit_on BETWEEN $from_on AND $to_on
),
cards AS (
  SELECT near.transaction_id, count(entry.transaction_id) AS card_before,
    count(CASE WHEN abs(entry.amount - $limit) <= $limit * $around_share THEN 1 END)
      AS card_around
  FROM near
  JOIN audit.transactions AS entry
    ON entry.payer = near.payer AND entry.cents > 0 AND entry.occurred_at < near.occurred_at
  GROUP BY near.transaction_id
  HAVING count(entry.transaction_id) >= $charges_min
),
vendors AS (
  SELECT near.transaction_id, count(entry.transaction_id) AS vendor_before,
    count(CASE WHEN abs(entry.amount - $limit) <= $limit * $around_share THEN 1 END)
      AS vendor_around
  FROM near
  LEFT JOIN audit.transactions AS entry
    ON entry.vendor_id = near.vendor_id AND entry.cents > 0
    AND entry.occurred_at < near.occurred_at
  GROUP BY near.transaction_id
),
weighed AS (
  SELECT near.*, cards.card_before, cards.card_around, vendors.vendor_before,
    vendors.vendor_around,
    round(-log2(greatest(
      (cards.card_around + $prior_weight * $prior_share) / (cards.card_before + $prior_weight),
      (vendors.vendor_around + $prior_weight * $prior_share)
        / (vendors.vendor_before + $prior_weight))), 4) AS bits
  FROM near
  JOIN cards ON cards.transaction_id = near.transaction_id
  JOIN vendors ON vendors.transaction_id = near.transaction_id
)
SELECT audit_on, transaction_id, bits AS measured, $bits_min AS threshold, amount, vendor,
  $limit - amount AS below_by, card_before, card_around, vendor_before, vendor_around
FROM weighed
WHERE bits >= $bits_min
