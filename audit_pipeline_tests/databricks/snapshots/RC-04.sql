-- RC-04 Statement lines that the ledger does not have, once the rule has waited: neither their id
-- nor a matched entry. Asked of a statement only where the ledger keeps entries of that source at
-- all, from its first one on. Left out is what a batch or a reversal explains with a confidence of
-- $explained_min. Measured: the amount without its sign.

WITH kept AS (
  SELECT
    source,
    MIN(occurred_on) AS first_on
  FROM audit.transactions AS transactions
  GROUP BY
    source
), lines AS (
  SELECT
    line_id,
    line_on,
    amount,
    vendor,
    'credit_card' AS statement
  FROM audit.card_lines AS card_lines
  UNION ALL
  SELECT
    line_id,
    line_on,
    amount,
    vendor,
    'bank'
  FROM audit.bank_lines AS bank_lines
), cohort AS (
  SELECT
    lines.*,
    lines.line_id AS transaction_id,
    lines.line_on + CAST(:matures_after_days AS INT) AS audit_on
  FROM lines
  JOIN kept
    ON kept.source = lines.statement AND kept.first_on <= lines.line_on
  WHERE
    lines.line_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
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
  'RC-04' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(50 AS INT) AS score,
  ARRAY(
    STRUCT(
      'amount' AS name,
      'audit.card_lines.amount' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(amount AS STRING), '') AS value
    ),
    STRUCT(
      'vendor' AS name,
      'audit.card_lines.vendor' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(vendor AS STRING), '') AS value
    ),
    STRUCT(
      'charged_on' AS name,
      'audit.card_lines.line_on' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(charged_on AS STRING), '') AS value
    ),
    STRUCT(
      'statement' AS name,
      'audit.not_in_ledger.statement' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(statement AS STRING), '') AS value
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
    audit_on,
    transaction_id,
    measured,
    threshold,
    amount,
    vendor,
    charged_on,
    statement,
    nearest_id,
    nearest_probability,
    nearest_terms,
    nearest_rivals,
    grouped_as,
    grouped_why
  FROM (
    SELECT
      cohort.audit_on,
      cohort.line_id AS transaction_id,
      ABS(cohort.amount) AS measured,
      0 AS threshold,
      cohort.amount,
      cohort.vendor,
      cohort.line_on AS charged_on,
      cohort.statement,
      COALESCE(nearest.other_id, 'none') AS nearest_id,
      COALESCE(nearest.posterior, 0) AS nearest_probability,
      COALESCE(nearest.terms, '') AS nearest_terms,
      COALESCE(nearest.rivals, 0) AS nearest_rivals,
      COALESCE(grouped.group_kind, 'none') AS grouped_as,
      COALESCE(grouped.reason, '') AS grouped_why,
      ROW_NUMBER() OVER (PARTITION BY cohort.audit_on, cohort.line_id ORDER BY statement NULLS LAST) AS rank_0
    FROM cohort
    LEFT JOIN audit.groups AS grouped
      ON grouped.line_id = cohort.transaction_id AND grouped.audit_on = cohort.audit_on
    LEFT JOIN nearest
      ON nearest.audit_on = cohort.audit_on
      AND nearest.transaction_id = cohort.transaction_id
    ANTI JOIN audit.ledger_ids AS ledger
      ON ledger.txn_id = cohort.line_id AND ledger.first_on <= cohort.audit_on
    LEFT JOIN (
      SELECT
        right_id,
        MIN(audit_on) AS audit_on
      FROM audit.matches AS matches
      WHERE
        kind IN ('ledger_to_card_statement', 'ledger_to_bank_statement')
      GROUP BY
        right_id
    ) AS matched
      ON matched.right_id = cohort.line_id AND matched.audit_on <= cohort.audit_on
    WHERE
      matched.right_id IS NULL
      AND /* A batch or an entry that was taken back explains the line; a near amount does not. */ (
        grouped.line_id IS NULL
        OR grouped.group_kind = 'tolerant'
        OR grouped.confidence < :explained_min
      )
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
