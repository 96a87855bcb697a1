-- AN-13 A recurring payment that has not come: its usual day is over, and so are the days by which
-- it ever strayed and may stray; neither has this card paid the vendor again nor any other card the
-- usual amount. Found on the last of those days, once, at the payment before: cancelled, moved or
-- unpaid. Measured: days after the usual day.
WITH series AS (
  SELECT transaction_id, payer, vendor_id, vendor, amount, occurred_on, usual_gap_days, usual_cents,
    gaps_before, occurred_on + CAST(usual_gap_days AS INTEGER) AS expected_on,
    CAST(ceil(allowed_days + gap_days_max - usual_gap_days) AS INTEGER) AS wait_days
  FROM audit.recurring
  WHERE is_steady AND gaps_before >= $gaps_min AND usual_gap_days <= $gap_days_max
    AND abs(gap_days - usual_gap_days) <= allowed_days
    AND cents_max - cents_min <= $stable_share * usual_cents
    AND abs(cents - usual_cents) <= $stable_share * usual_cents
),
due AS (
  SELECT * FROM series WHERE expected_on + wait_days BETWEEN $from_on AND $to_on
),
came AS (
  SELECT due.transaction_id
  FROM due
  JOIN audit.transactions AS entry ON entry.vendor_id = due.vendor_id
  WHERE entry.cents > 0
    AND entry.occurred_on BETWEEN due.occurred_on AND due.expected_on + due.wait_days
    AND (entry.occurred_on > due.occurred_on OR entry.transaction_id > due.transaction_id)
    AND (entry.payer = due.payer
      OR abs(entry.cents - due.usual_cents) <= $stable_share * due.usual_cents)
)
SELECT due.expected_on + due.wait_days AS audit_on, due.transaction_id,
  due.wait_days AS measured, due.wait_days AS threshold, due.amount, due.vendor, due.expected_on,
  due.usual_gap_days, due.gaps_before + 2 AS payments
FROM due
ANTI JOIN came ON came.transaction_id = due.transaction_id
