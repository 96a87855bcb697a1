-- Every id that the ledger names, and the first day on which it does: quarantined
-- entries and rows that could not be read, too, since their statement lines are
-- not orphans. Left out are entries without an id.

SELECT
  txn_id,
  MIN(audit_on) AS first_on
FROM (
  SELECT
    txn_id,
    audit_on
  FROM gold.recent_transactions AS recent_transactions
  WHERE
    NOT txn_id IS NULL
  UNION ALL
  SELECT
    row_id,
    audit_on
  FROM gold.quarantine AS quarantine
  WHERE
    table_name = 'recent_transactions' AND NOT row_id IS NULL
) AS ids
GROUP BY
  txn_id
