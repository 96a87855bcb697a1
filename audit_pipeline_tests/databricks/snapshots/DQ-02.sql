-- DQ-02 Rows of the ledger's file that could not be read as an entry: a value of
-- another kind than its column's, with the value as it was written, its file and
-- its row. They are counted and set aside when the file is read. Where several
-- rows of a day go by one id, the first counts. Measured: 1, against 0.

SELECT
  audit_on,
  transaction_id,
  'DQ-02' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(20 AS INT) AS score,
  ARRAY(
    STRUCT(
      'field' AS name,
      'gold.quarantine.field' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(field AS STRING), '') AS value
    ),
    STRUCT(
      'reason' AS name,
      'gold.quarantine.reason' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(reason AS STRING), '') AS value
    ),
    STRUCT(
      'raw' AS name,
      'gold.quarantine.raw' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(raw AS STRING), '') AS value
    ),
    STRUCT(
      'file' AS name,
      'gold.quarantine.file' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(file AS STRING), '') AS value
    ),
    STRUCT(
      'row_number' AS name,
      'gold.quarantine.row_number' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(row_number AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    measured,
    threshold,
    field,
    reason,
    raw,
    file,
    row_number
  FROM (
    SELECT
      audit_on,
      COALESCE(row_id, 'row:' || row_number) AS transaction_id,
      1 AS measured,
      0 AS threshold,
      field,
      reason,
      raw,
      file,
      row_number,
      ROW_NUMBER() OVER (
        PARTITION BY audit_on, COALESCE(row_id, 'row:' || row_number)
        ORDER BY row_number NULLS LAST
      ) AS rank_0
    FROM gold.quarantine AS quarantine
    WHERE
      table_name = 'recent_transactions' AND audit_on BETWEEN :from_on AND :to_on
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
