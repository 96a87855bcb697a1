-- AN-11 Ten or a hundred times a usual price of the vendor, with the same digits: a decimal point
-- in the wrong place. A usual price is one that a part of its charges of the year before had; and
-- the amount lies far above what nearly all of them came to. Measured: times that upper bound.
WITH factors AS (
  SELECT 10 AS times UNION ALL SELECT 100 AS times
),
entries AS (
  SELECT entry.transaction_id, entry.audit_on, entry.vendor_id, entry.vendor, entry.amount,
    entry.cents, entry.occurred_on, factors.times, entry.cents // factors.times AS price_cents
  FROM audit.transactions AS entry
  CROSS JOIN factors
  WHERE entry.amount >= $amount_min AND entry.cents % factors.times = 0
    AND length(rtrim(CAST(entry.cents AS VARCHAR), '0')) >= $digits_min
    AND entry.audit_on BETWEEN $from_on AND $to_on
),
priced AS (
  SELECT entry.transaction_id, entry.times, count(*) AS price_charges,
    max_by(other.transaction_id, (other.occurred_at, other.transaction_id)) AS other_id
  FROM entries AS entry
  JOIN audit.transactions AS other
    ON other.vendor_id = entry.vendor_id AND other.cents = entry.price_cents
  WHERE other.occurred_on >= entry.occurred_on - CAST($history_days AS INTEGER)
    AND other.occurred_on < entry.occurred_on
  GROUP BY entry.transaction_id, entry.times
  HAVING count(*) >= $price_charges_min
),
compared AS (
  SELECT entry.audit_on, entry.transaction_id, entry.vendor, entry.amount, entry.cents, entry.times,
    priced.price_charges, priced.other_id AS other_id,
    count(*) AS charges_before, quantile_disc(other.cents, $upper_share) AS upper_cents
  FROM priced
  JOIN entries AS entry
    ON entry.transaction_id = priced.transaction_id AND entry.times = priced.times
  JOIN audit.transactions AS other ON other.vendor_id = entry.vendor_id
  WHERE other.cents > 0
    AND other.occurred_on >= entry.occurred_on - CAST($history_days AS INTEGER)
    AND other.occurred_on < entry.occurred_on
  GROUP BY entry.audit_on, entry.transaction_id, entry.vendor, entry.amount, entry.cents,
    entry.times, priced.price_charges, priced.other_id
)
SELECT audit_on, transaction_id, round(cents / upper_cents, 2) AS measured,
  $times_min AS threshold, amount, vendor, other_id, times AS times_price,
  CAST(upper_cents / 100 AS DECIMAL(18,2)) AS upper_amount, price_charges, charges_before
FROM compared
WHERE charges_before >= $charges_min AND price_charges >= $price_share_min * charges_before
  AND cents >= $times_min * upper_cents
QUALIFY row_number() OVER (
  PARTITION BY audit_on, transaction_id ORDER BY price_charges DESC, times) = 1
