-- Every audited charge's anomaly score, 0 to 100. Five aspects each say in bits how surprising the
-- charge is (one bit: half of all charges are at least so); what exceeds the floor is added up:
--   amount    at this vendor on this card, as a Student t(4) tail: 2.5 · log2(1 + z²/4)
--   card      the same for the card as a whole
--   novelty   the first payment of a card to a vendor, against how often the card does that
--   weekday   the weekday, against the card's habit
--   forest    the isolation forest's rank among earlier charges
-- score = 100 · (1 − 2^(−sum / half_bits)): every `half_bits` bits halve the way to 100.
WITH aspects AS (
  SELECT feature.transaction_id, feature.audit_on, feature.payer, feature.vendor_id, feature.vendor,
    feature.amount, feature.usual_amount, feature.pair_charges, feature.vendor_charges,
    feature.pair_distance, feature.company_charges,
    greatest(2.5 * log2(1 + power(greatest(pair_distance, 0), 2) / 4) - $floor_bits, 0) AS amount_bits,
    greatest(2.5 * log2(1 + power(greatest(payer_distance, 0), 2) / 4) - $floor_bits, 0) AS card_bits,
    greatest(novelty_bits - $floor_bits, 0) AS novelty_bits,
    greatest(weekday_bits - $floor_bits, 0) AS weekday_bits,
    greatest(coalesce(forest.bits, 0) - $floor_bits, 0) AS forest_bits
  FROM audit.features AS feature
  LEFT JOIN audit.forest AS forest ON forest.transaction_id = feature.transaction_id
  WHERE NOT feature.training AND feature.company_charges >= $history_min
),
summed AS (
  SELECT *, amount_bits + card_bits + novelty_bits + weekday_bits + forest_bits AS bits
  FROM aspects
)
SELECT transaction_id, audit_on, payer, vendor_id, vendor, amount, usual_amount, pair_charges,
  vendor_charges, round(pair_distance, 4) AS distance,
  round(100 * (1 - power(2, -bits / $half_bits)), 2) AS score,
  round(bits, 2) AS bits, round(amount_bits, 2) AS amount_bits, round(card_bits, 2) AS card_bits,
  round(novelty_bits, 2) AS novelty_bits, round(weekday_bits, 2) AS weekday_bits,
  round(forest_bits, 2) AS forest_bits
FROM summed
