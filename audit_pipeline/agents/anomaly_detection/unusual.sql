-- AN-07 Charges whose anomaly score is above $score_min, of 100, with the strongest signals and
-- each one's share of the score. The score compares a charge with the company's year before its
-- month; `audit.scores` has none for months without enough history. Measured: the score.
SELECT audit_on, transaction_id, score AS measured, $score_min AS threshold, amount, vendor, score,
  reasons AS parts, usual_amount, companions
FROM audit.scores
WHERE score > $score_min AND audit_on BETWEEN $from_on AND $to_on
