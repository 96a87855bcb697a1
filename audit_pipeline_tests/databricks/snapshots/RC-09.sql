-- RC-09 Bank lines whose running balance is off by $difference_min or more from the balance before
-- them and their own amount. With it, the ledger entry of exactly the missing amount that has no
-- bank line: what was removed. Left out are gaps in which a line could not be read, whose amount
-- they may be. Measured: the missing amount without its sign.

WITH gaps AS (
  SELECT
    *,
    balance - expected AS missing
  FROM audit.balance_breaks AS balance_breaks
  WHERE
    audit_on BETWEEN :from_on AND :to_on
    AND ABS(balance - expected) >= :difference_min
), unreadable /* Where a line between the two could not be read, its amount is the gap, and no line is missing. */ AS (
  SELECT
    audit_on AS unread_on,
    account_number AS account
  FROM gold.bank_accounts AS bank_accounts
  WHERE
    amount IS NULL OR account_number IS NULL
  UNION ALL
  SELECT
    audit_on,
    CAST(NULL AS STRING)
  FROM gold.quarantine AS quarantine
  WHERE
    table_name = 'bank_accounts'
), on_statement AS (
  SELECT
    line_id AS transaction_id,
    line_on AS known_on
  FROM audit.bank_lines AS bank_lines
  UNION ALL
  SELECT
    left_id,
    audit_on
  FROM audit.matches AS matches
  WHERE
    kind = 'ledger_to_bank_statement'
), removed AS (
  SELECT
    audit_on,
    line_id,
    account,
    ledger_entry
  FROM (
    SELECT
      gaps.audit_on,
      gaps.line_id,
      gaps.account,
      entry.transaction_id AS ledger_entry,
      ROW_NUMBER() OVER (
        PARTITION BY gaps.audit_on, gaps.line_id, gaps.account
        ORDER BY entry.occurred_on NULLS LAST, entry.transaction_id NULLS LAST
      ) AS rank_0
    FROM gaps
    JOIN audit.transactions AS entry
      ON entry.source = 'bank'
      AND entry.amount = -gaps.missing
      AND entry.occurred_on BETWEEN gaps.previous_on AND gaps.audit_on
    ANTI JOIN on_statement
      ON on_statement.transaction_id = entry.transaction_id
      AND on_statement.known_on <= gaps.audit_on
  ) AS ranked
  WHERE
    rank_0 = 1
)
SELECT
  audit_on,
  transaction_id,
  'RC-09' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(50 AS INT) AS score,
  ARRAY(
    STRUCT(
      'account' AS name,
      'gold.bank_accounts.account_number' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(account AS STRING), '') AS value
    ),
    STRUCT(
      'previous_id' AS name,
      'gold.bank_accounts.txn_id' AS source,
      COALESCE(CAST(previous_id AS STRING), '') AS row_id,
      COALESCE(CAST(previous_id AS STRING), '') AS value
    ),
    STRUCT(
      'previous_on' AS name,
      'gold.bank_accounts.date' AS source,
      COALESCE(CAST(previous_id AS STRING), '') AS row_id,
      COALESCE(CAST(previous_on AS STRING), '') AS value
    ),
    STRUCT(
      'previous_balance' AS name,
      'gold.bank_accounts.running_balance' AS source,
      COALESCE(CAST(previous_id AS STRING), '') AS row_id,
      COALESCE(CAST(previous_balance AS STRING), '') AS value
    ),
    STRUCT(
      'balance' AS name,
      'gold.bank_accounts.running_balance' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(balance AS STRING), '') AS value
    ),
    STRUCT(
      'expected' AS name,
      'audit.balance_breaks.expected' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(expected AS STRING), '') AS value
    ),
    STRUCT(
      'missing' AS name,
      'audit.balance_breaks.missing' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(missing AS STRING), '') AS value
    ),
    STRUCT(
      'ledger_entry' AS name,
      'gold.recent_transactions.txn_id' AS source,
      COALESCE(CAST(ledger_entry AS STRING), '') AS row_id,
      COALESCE(CAST(ledger_entry AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    audit_on,
    transaction_id,
    measured,
    threshold,
    account,
    previous_id,
    previous_on,
    previous_balance,
    balance,
    expected,
    missing,
    ledger_entry
  FROM (
    SELECT
      gaps.audit_on,
      gaps.line_id AS transaction_id,
      LEAST(ABS(gaps.missing), 99999999999999.99) AS measured, /* what a finding can hold */
      :difference_min AS threshold,
      gaps.account,
      gaps.previous_id,
      gaps.previous_on,
      gaps.previous_balance,
      gaps.balance,
      gaps.expected,
      gaps.missing,
      COALESCE(removed.ledger_entry, 'none') AS ledger_entry,
      ROW_NUMBER() OVER (
        PARTITION BY gaps.audit_on, gaps.line_id
        ORDER BY ABS(gaps.missing) DESC, gaps.account NULLS LAST
      ) AS rank_0
    FROM gaps
    LEFT JOIN removed
      ON removed.audit_on = gaps.audit_on
      AND removed.line_id = gaps.line_id
      AND removed.account = gaps.account
    ANTI JOIN unreadable
      ON unreadable.unread_on BETWEEN gaps.previous_on AND gaps.audit_on
      AND COALESCE(unreadable.account = gaps.account, TRUE)
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
