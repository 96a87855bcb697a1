-- AN-08 A charge of a vendor whose name reads like an established vendor's but is spelled with
-- other characters: `micr0soft`, a Cyrillic letter, rn for m. Established is a name in the vendor
-- master, or one that was charged $charges_min times before, and before the look-alike first was.
-- Left out are names of fewer than $letters_min letters and names of the master itself. Measured:
-- earlier charges of the established one.
WITH spelled AS (
  SELECT vendor_key, vendor_id, vendor_name, method, skeleton,
    replace(vendor_key, ' ', '') AS letters
  FROM audit.vendor_entities
),
twins AS (
  SELECT a.vendor_key, b.vendor_key AS twin_key, b.method AS twin_method
  FROM spelled AS a
  JOIN spelled AS b ON b.skeleton = a.skeleton AND b.letters <> a.letters
  WHERE a.method <> 'alias' AND length(a.skeleton) >= $letters_min
),
entries AS (
  SELECT entry.audit_on, entry.transaction_id, entry.amount, entry.vendor, entry.occurred_at,
    entry.vendor_key, twins.twin_key, twins.twin_method
  FROM audit.transactions AS entry
  JOIN twins ON twins.vendor_key = entry.vendor_key
  WHERE entry.audit_on BETWEEN $from_on AND $to_on
),
known AS (
  SELECT entries.transaction_id, entries.twin_key, count(twin.transaction_id) AS twin_charges,
    min(twin.occurred_at) AS twin_first_at
  FROM entries
  LEFT JOIN audit.transactions AS twin
    ON twin.vendor_key = entries.twin_key AND twin.occurred_at < entries.occurred_at
  GROUP BY entries.transaction_id, entries.twin_key
),
own AS (
  SELECT vendor_key, min(occurred_at) AS first_at FROM audit.transactions GROUP BY vendor_key
)
SELECT entries.audit_on, entries.transaction_id, known.twin_charges AS measured,
  $charges_min AS threshold, entries.amount, entries.vendor, entries.vendor_key, entries.twin_key,
  known.twin_charges
FROM entries
JOIN known
  ON known.transaction_id = entries.transaction_id AND known.twin_key = entries.twin_key
JOIN own ON own.vendor_key = entries.vendor_key
WHERE (entries.twin_method = 'alias'
    OR (known.twin_charges >= $charges_min AND known.twin_first_at < own.first_at))
QUALIFY row_number() OVER (
  PARTITION BY entries.audit_on, entries.transaction_id
  ORDER BY known.twin_charges DESC, entries.twin_key) = 1
