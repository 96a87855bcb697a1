-- RC-05 Ledger entries whose own statement line, of the same id, has another amount: off by
-- $difference_min or more. The shape says what slip it looks like: the sign, a decimal point, two
-- digits. Found on the day on which both are known. Measured: the difference without its sign.

WITH linked AS (
  SELECT
    entry.transaction_id,
    entry.audit_on,
    entry.amount,
    entry.cents,
    entry.vendor,
    line.line_id AS statement_id,
    line.amount AS statement_amount,
    line.cents AS statement_cents,
    GREATEST(entry.occurred_on, line.line_on) AS known_on
  FROM audit.transactions AS entry
  JOIN audit.card_lines AS line
    ON line.line_id = entry.transaction_id
  WHERE
    entry.source = 'credit_card'
  UNION ALL
  SELECT
    entry.transaction_id,
    entry.audit_on,
    entry.amount,
    entry.cents,
    entry.vendor,
    line.line_id,
    line.amount,
    line.cents,
    GREATEST(entry.occurred_on, line.line_on)
  FROM audit.transactions AS entry
  JOIN audit.bank_lines AS line
    ON line.line_id = entry.transaction_id
  WHERE
    entry.source = 'bank'
)
SELECT
  audit_on,
  transaction_id,
  'RC-05' AS rule_id,
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
      'statement_id' AS name,
      'audit.amount_disagrees.statement_id' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(statement_id AS STRING), '') AS value
    ),
    STRUCT(
      'statement_amount' AS name,
      'audit.amount_disagrees.statement_amount' AS source,
      COALESCE(CAST(statement_id AS STRING), '') AS row_id,
      COALESCE(CAST(statement_amount AS STRING), '') AS value
    ),
    STRUCT(
      'difference' AS name,
      'audit.amount_disagrees.difference' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(difference AS STRING), '') AS value
    ),
    STRUCT(
      'shape' AS name,
      'audit.amount_disagrees.shape' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(shape AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    known_on AS audit_on,
    transaction_id,
    ABS(amount - statement_amount) AS measured,
    :difference_min AS threshold,
    amount,
    vendor,
    statement_id,
    statement_amount,
    amount - statement_amount AS difference,
    CASE
      WHEN cents = -statement_cents
      THEN 'the sign'
      WHEN cents = 10 * statement_cents
      OR statement_cents = 10 * cents
      OR cents = 100 * statement_cents
      OR statement_cents = 100 * cents
      THEN 'a slipped decimal point'
      WHEN (
        cents - statement_cents
      ) % 9 = 0
      AND LENGTH(CAST(cents AS STRING)) = LENGTH(CAST(statement_cents AS STRING))
      THEN 'two digits that changed places'
      ELSE 'another amount'
    END AS shape
  FROM linked
  WHERE
    cents <> statement_cents
    AND ABS(amount - statement_amount) >= :difference_min
    AND known_on BETWEEN :from_on AND :to_on
) AS hit
