-- AN-08 A charge of a vendor whose name reads like an established vendor's but is spelled with
-- other characters: `micr0soft`, a Cyrillic letter, rn for m. Established is a name in the vendor
-- master, or one that was charged $charges_min times before, and before the look-alike first was.
-- Left out are names of fewer than $letters_min letters and names of the master itself. Measured:
-- earlier charges of the established one.

WITH spelled AS (
  SELECT
    vendor_key,
    vendor_id,
    vendor_name,
    method,
    skeleton,
    REPLACE(vendor_key, ' ', '') AS letters
  FROM audit.vendor_entities AS vendor_entities
), twins AS (
  SELECT
    a.vendor_key,
    b.vendor_key AS twin_key,
    b.method AS twin_method
  FROM spelled AS a
  JOIN spelled AS b
    ON b.skeleton = a.skeleton AND b.letters <> a.letters
  WHERE
    a.method <> 'alias' AND LENGTH(a.skeleton) >= :letters_min
), entries AS (
  SELECT
    entry.audit_on,
    entry.transaction_id,
    entry.amount,
    entry.vendor,
    entry.occurred_at,
    entry.vendor_key,
    twins.twin_key,
    twins.twin_method
  FROM audit.transactions AS entry
  JOIN twins
    ON twins.vendor_key = entry.vendor_key
  WHERE
    entry.audit_on BETWEEN :from_on AND :to_on
), known AS (
  SELECT
    entries.transaction_id,
    entries.twin_key,
    COUNT(twin.transaction_id) AS twin_charges,
    MIN(twin.occurred_at) AS twin_first_at
  FROM entries
  LEFT JOIN audit.transactions AS twin
    ON twin.vendor_key = entries.twin_key AND twin.occurred_at < entries.occurred_at
  GROUP BY
    entries.transaction_id,
    entries.twin_key
), own AS (
  SELECT
    vendor_key,
    MIN(occurred_at) AS first_at
  FROM audit.transactions AS transactions
  GROUP BY
    vendor_key
)
SELECT
  audit_on,
  transaction_id,
  'AN-08' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(50 AS INT) AS score,
  ARRAY(
    STRUCT(
      'amount' AS name,
      'gold.recent_transactions.amount' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(amount AS STRING), '') AS value
    ),
    STRUCT(
      'vendor' AS name,
      'gold.recent_transactions.vendor' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor AS STRING), '') AS value
    ),
    STRUCT(
      'vendor_key' AS name,
      'audit.vendor_entities.vendor_key' AS source,
      COALESCE(CAST(vendor_key AS STRING), '') AS row_id,
      COALESCE(CAST(vendor_key AS STRING), '') AS value
    ),
    STRUCT(
      'twin_key' AS name,
      'audit.vendor_entities.vendor_key' AS source,
      COALESCE(CAST(twin_key AS STRING), '') AS row_id,
      COALESCE(CAST(twin_key AS STRING), '') AS value
    ),
    STRUCT(
      'twin_charges' AS name,
      'audit.lookalike.twin_charges' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(twin_charges AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    measured,
    threshold,
    amount,
    vendor,
    vendor_key,
    twin_key,
    twin_charges
  FROM (
    SELECT
      entries.audit_on,
      entries.transaction_id,
      known.twin_charges AS measured,
      :charges_min AS threshold,
      entries.amount,
      entries.vendor,
      entries.vendor_key,
      entries.twin_key,
      known.twin_charges,
      ROW_NUMBER() OVER (
        PARTITION BY entries.audit_on, entries.transaction_id
        ORDER BY known.twin_charges DESC, entries.twin_key NULLS LAST
      ) AS rank_0
    FROM entries
    JOIN known
      ON known.transaction_id = entries.transaction_id
      AND known.twin_key = entries.twin_key
    JOIN own
      ON own.vendor_key = entries.vendor_key
    WHERE
      (
        entries.twin_method = 'alias'
        OR (
          known.twin_charges >= :charges_min AND known.twin_first_at < own.first_at
        )
      )
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
