-- AN-07 Charges whose anomaly score is above the specification's 70, with the parts of the score.
SELECT audit_on, transaction_id, score AS measured, $score_min AS threshold, amount, vendor, score,
  concat_ws(', ',
    CASE WHEN amount_bits > 0 THEN 'amount ' || amount_bits END,
    CASE WHEN card_bits > 0 THEN 'size for this card ' || card_bits END,
    CASE WHEN novelty_bits > 0 THEN 'new vendor for this card ' || novelty_bits END,
    CASE WHEN weekday_bits > 0 THEN 'weekday ' || weekday_bits END,
    CASE WHEN forest_bits > 0 THEN 'combination ' || forest_bits END) AS parts,
  usual_amount
FROM audit.scores
WHERE score > $score_min AND audit_on BETWEEN $from_on AND $to_on
