-- RC-03 Ledger entries that their own source's statement does not have, once the rule has waited:
-- neither the id nor a line of that amount, day and vendor. Asked only of days for which that
-- statement has lines. Left out is what a batch or a reversal explains with a confidence of
-- $explained_min. Measured: the days that the rule waits.

WITH reach AS (
  SELECT
    'credit_card' AS source,
    MIN(line_on) AS first_on
  FROM audit.card_lines AS card_lines
  UNION ALL
  SELECT
    'bank',
    MIN(line_on)
  FROM audit.bank_lines AS bank_lines
), cohort AS (
  SELECT
    entry.transaction_id,
    entry.source,
    entry.amount,
    entry.vendor,
    entry.occurred_on,
    entry.occurred_on + CAST(:matures_after_days AS INT) AS audit_on
  FROM audit.transactions AS entry
  JOIN reach
    ON reach.source = entry.source AND reach.first_on <= entry.occurred_on
  WHERE
    entry.occurred_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
), nearest /* The pair that came nearest to a match, and the rivals that it had. */ AS (
  SELECT
    audit_on,
    transaction_id,
    other_id,
    posterior,
    terms,
    rivals
  FROM (
    SELECT
      cohort.audit_on,
      cohort.transaction_id,
      near.other_id,
      near.posterior,
      near.terms,
      near.rivals,
      ROW_NUMBER() OVER (
        PARTITION BY cohort.audit_on, cohort.transaction_id
        ORDER BY near.posterior DESC, near.other_id NULLS LAST, near.audit_on NULLS LAST
      ) AS rank_0
    FROM cohort
    JOIN audit.near_misses AS near
      ON near.line_id = cohort.transaction_id AND near.audit_on <= cohort.audit_on
    WHERE
      near.kind IN ('ledger_to_card_statement', 'ledger_to_bank_statement')
  ) AS ranked
  WHERE
    rank_0 = 1
)
SELECT
  audit_on,
  transaction_id,
  'RC-03' AS rule_id,
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
      'charged_on' AS name,
      'gold.recent_transactions.date' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(charged_on AS STRING), '') AS value
    ),
    STRUCT(
      'statement' AS name,
      'gold.recent_transactions.source' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(statement AS STRING), '') AS value
    ),
    STRUCT(
      'days_open' AS name,
      'audit.not_on_statement.days_open' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(days_open AS STRING), '') AS value
    ),
    STRUCT(
      'nearest_id' AS name,
      'audit.near_misses.other_id' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(nearest_id AS STRING), '') AS value
    ),
    STRUCT(
      'nearest_probability' AS name,
      'audit.near_misses.posterior' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(nearest_probability AS STRING), '') AS value
    ),
    STRUCT(
      'nearest_terms' AS name,
      'audit.near_misses.terms' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(nearest_terms AS STRING), '') AS value
    ),
    STRUCT(
      'nearest_rivals' AS name,
      'audit.near_misses.rivals' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(nearest_rivals AS STRING), '') AS value
    ),
    STRUCT(
      'grouped_as' AS name,
      'audit.groups.group_kind' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(grouped_as AS STRING), '') AS value
    ),
    STRUCT(
      'grouped_why' AS name,
      'audit.groups.reason' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(grouped_why AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    cohort.audit_on,
    cohort.transaction_id,
    CAST(:matures_after_days AS INT) AS measured,
    0 AS threshold,
    cohort.amount,
    cohort.vendor,
    cohort.occurred_on AS charged_on,
    cohort.source AS statement,
    CAST(:matures_after_days AS INT) AS days_open,
    COALESCE(nearest.other_id, 'none') AS nearest_id,
    COALESCE(nearest.posterior, 0) AS nearest_probability,
    COALESCE(nearest.terms, '') AS nearest_terms,
    COALESCE(nearest.rivals, 0) AS nearest_rivals,
    COALESCE(grouped.group_kind, 'none') AS grouped_as,
    COALESCE(grouped.reason, '') AS grouped_why
  FROM cohort
  LEFT JOIN audit.groups AS grouped
    ON grouped.line_id = cohort.transaction_id AND grouped.audit_on = cohort.audit_on
  LEFT JOIN nearest
    ON nearest.audit_on = cohort.audit_on
    AND nearest.transaction_id = cohort.transaction_id
  LEFT JOIN audit.card_lines AS card
    ON card.line_id = cohort.transaction_id
    AND cohort.source = 'credit_card'
    AND card.line_on <= cohort.audit_on
  LEFT JOIN audit.bank_lines AS bank
    ON bank.line_id = cohort.transaction_id
    AND cohort.source = 'bank'
    AND bank.line_on <= cohort.audit_on
  LEFT JOIN (
    SELECT
      left_id,
      MIN(audit_on) AS audit_on
    FROM audit.matches AS matches
    WHERE
      kind IN ('ledger_to_card_statement', 'ledger_to_bank_statement')
    GROUP BY
      left_id
  ) AS matched
    ON matched.left_id = cohort.transaction_id AND matched.audit_on <= cohort.audit_on
  WHERE
    card.line_id IS NULL
    AND bank.line_id IS NULL
    AND matched.left_id IS NULL
    AND /* A batch or an entry that was taken back explains the line; a near amount does not. */ (
      grouped.line_id IS NULL
      OR grouped.group_kind = 'tolerant'
      OR grouped.confidence < :explained_min
    )
) AS hit
