-- RC-02 Charges that a statement's payment left out: the payment is lower than the statement's
-- lines, and these lines are the smallest set that makes up the difference to the cent. One row for
-- each charge and day; where two payments left one out, the first id counts. Measured: the whole
-- difference.

SELECT
  audit_on,
  transaction_id,
  'RC-02' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(50 AS INT) AS score,
  ARRAY(
    STRUCT(
      'amount' AS name,
      'gold.credit_cards.amount' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(amount AS STRING), '') AS value
    ),
    STRUCT(
      'vendor' AS name,
      'gold.credit_cards.vendor' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor AS STRING), '') AS value
    ),
    STRUCT(
      'charged_on' AS name,
      'gold.credit_cards.date' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(charged_on AS STRING), '') AS value
    ),
    STRUCT(
      'payment_id' AS name,
      'gold.bank_accounts.txn_id' AS source,
      COALESCE(CAST(payment_id AS STRING), '') AS row_id,
      COALESCE(CAST(payment_id AS STRING), '') AS value
    ),
    STRUCT(
      'payment_on' AS name,
      'gold.bank_accounts.date' AS source,
      COALESCE(CAST(payment_id AS STRING), '') AS row_id,
      COALESCE(CAST(payment_on AS STRING), '') AS value
    ),
    STRUCT(
      'paid' AS name,
      'gold.bank_accounts.amount' AS source,
      COALESCE(CAST(payment_id AS STRING), '') AS row_id,
      COALESCE(CAST(paid AS STRING), '') AS value
    ),
    STRUCT(
      'lines' AS name,
      'audit.statements.lines' AS source,
      COALESCE(CAST(payment_id AS STRING), '') AS row_id,
      COALESCE(CAST(lines AS STRING), '') AS value
    ),
    STRUCT(
      'lines_total' AS name,
      'audit.statements.lines_total' AS source,
      COALESCE(CAST(payment_id AS STRING), '') AS row_id,
      COALESCE(CAST(lines_total AS STRING), '') AS value
    ),
    STRUCT(
      'difference' AS name,
      'audit.statements.difference' AS source,
      COALESCE(CAST(payment_id AS STRING), '') AS row_id,
      COALESCE(CAST(difference AS STRING), '') AS value
    ),
    STRUCT(
      'period_from' AS name,
      'audit.statements.period_from' AS source,
      COALESCE(CAST(payment_id AS STRING), '') AS row_id,
      COALESCE(CAST(period_from AS STRING), '') AS value
    ),
    STRUCT(
      'period_to' AS name,
      'audit.statements.period_to' AS source,
      COALESCE(CAST(payment_id AS STRING), '') AS row_id,
      COALESCE(CAST(period_to AS STRING), '') AS value
    ),
    STRUCT(
      'set_size' AS name,
      'audit.statements.explained_by' AS source,
      COALESCE(CAST(payment_id AS STRING), '') AS row_id,
      COALESCE(CAST(set_size AS STRING), '') AS value
    ),
    STRUCT(
      'rivals' AS name,
      'audit.statements.rivals' AS source,
      COALESCE(CAST(payment_id AS STRING), '') AS row_id,
      COALESCE(CAST(rivals AS STRING), '') AS value
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
    charged_on,
    payment_id,
    payment_on,
    paid,
    lines,
    lines_total,
    difference,
    period_from,
    period_to,
    set_size,
    rivals
  FROM (
    SELECT
      statement.audit_on,
      line.line_id AS transaction_id,
      statement.difference AS measured,
      0 AS threshold,
      line.amount,
      line.vendor,
      line.line_on AS charged_on,
      statement.payment_id,
      statement.payment_on,
      statement.paid,
      statement.lines,
      statement.lines_total,
      statement.difference,
      statement.period_from,
      statement.period_to,
      SIZE(statement.explained_by) AS set_size,
      statement.rivals,
      ROW_NUMBER() OVER (
        PARTITION BY statement.audit_on, line.line_id
        ORDER BY statement.payment_id NULLS LAST
      ) AS rank_0
    FROM (
      SELECT
        *,
        EXPLODE(explained_by) AS line_id
      FROM audit.statements AS statements
      WHERE
        status = 'short' AND audit_on BETWEEN :from_on AND :to_on
    ) AS statement
    JOIN audit.card_lines AS line
      ON line.line_id = statement.line_id
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
