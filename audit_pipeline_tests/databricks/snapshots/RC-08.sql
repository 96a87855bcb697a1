-- RC-08 Card charges that no bank line matches, where the bank pays charges one by one: no
-- statement of the card is paid, and such a match has been seen before. The specification's orphan
-- finder. Asked once the rule has waited, of days that the bank's lines reach by $window_days,
-- while these are no older than $feed_days days. Measured: the days that the rule waits.

WITH cohort AS (
  SELECT
    transaction_id,
    occurred_on + CAST(:matures_after_days AS INT) AS audit_on,
    amount,
    vendor,
    occurred_on,
    COALESCE(REGEXP_EXTRACT(card_number, '([0-9]{4})[^0-9]*\\z', 1), '') AS last4
  FROM audit.transactions AS transactions
  WHERE
    source = 'credit_card'
    AND cents > 0
    AND occurred_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
), paid_alone AS (
  SELECT
    left_id,
    MIN(audit_on) AS audit_on
  FROM audit.matches AS matches
  WHERE
    kind = 'charge_to_bank_line'
  GROUP BY
    left_id
), first_alone AS (
  SELECT
    MIN(audit_on) AS first_on
  FROM paid_alone
), billed AS (
  SELECT
    card,
    MIN(audit_on) AS known_on
  FROM audit.statements AS statements
  GROUP BY
    card
), reach AS (
  SELECT
    days.audit_on,
    MIN(lines.line_on) AS first_on,
    MAX(lines.line_on) AS last_on
  FROM (
    SELECT DISTINCT
      audit_on
    FROM cohort
  ) AS days
  JOIN (
    SELECT DISTINCT
      line_on
    FROM audit.bank_lines AS bank_lines
  ) AS lines
    ON lines.line_on <= days.audit_on
  GROUP BY
    days.audit_on
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
      near.kind IN ('charge_to_bank_line')
  ) AS ranked
  WHERE
    rank_0 = 1
)
SELECT
  audit_on,
  transaction_id,
  'RC-08' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(40 AS INT) AS score,
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
      'days_open' AS name,
      'audit.orphan.days_open' AS source,
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
    CAST(:matures_after_days AS INT) AS days_open,
    COALESCE(nearest.other_id, 'none') AS nearest_id,
    COALESCE(nearest.posterior, 0) AS nearest_probability,
    COALESCE(nearest.terms, '') AS nearest_terms,
    COALESCE(nearest.rivals, 0) AS nearest_rivals
  FROM cohort
  LEFT JOIN nearest
    ON nearest.audit_on = cohort.audit_on
    AND nearest.transaction_id = cohort.transaction_id
  JOIN reach
    ON reach.audit_on = cohort.audit_on
  CROSS JOIN first_alone
  LEFT JOIN paid_alone
    ON paid_alone.left_id = cohort.transaction_id
    AND paid_alone.audit_on <= cohort.audit_on
  ANTI JOIN billed AS own
    ON own.card = cohort.last4 AND own.known_on <= cohort.audit_on
  ANTI JOIN (
    SELECT
      known_on
    FROM billed
    WHERE
      card = 'all'
  ) AS joint
    ON joint.known_on <= cohort.audit_on
  WHERE
    paid_alone.left_id IS NULL
    AND first_alone.first_on <= cohort.audit_on
    AND cohort.occurred_on >= reach.first_on - CAST(:window_days AS INT)
    AND reach.last_on >= cohort.audit_on - CAST(:feed_days AS INT)
) AS hit
