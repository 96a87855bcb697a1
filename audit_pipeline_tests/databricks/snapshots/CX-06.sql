-- CX-06 Charges from $limit on that were approved from a mail domain only that is none of the
-- company's, as these were known before the month of the approval (`audit.foreign_domains`). Left
-- out are charges with a proper approval, and those that the spender's own came first for (CX-05).
-- Measured: the share of voices from that domain, against $company_share, from which a domain is
-- the company's.

SELECT
  audit_on,
  transaction_id,
  'CX-06' AS rule_id,
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
      'email_id' AS name,
      'gold.emails.email_id' AS source,
      COALESCE(CAST(email_id AS STRING), '') AS row_id,
      COALESCE(CAST(email_id AS STRING), '') AS value
    ),
    STRUCT(
      'approver' AS name,
      'gold.emails.sender' AS source,
      COALESCE(CAST(email_id AS STRING), '') AS row_id,
      COALESCE(CAST(approver AS STRING), '') AS value
    ),
    STRUCT(
      'approved_on' AS name,
      'gold.emails.date' AS source,
      COALESCE(CAST(email_id AS STRING), '') AS row_id,
      COALESCE(CAST(approved_on AS STRING), '') AS value
    ),
    STRUCT(
      'foreign_domain' AS name,
      'audit.foreign_domains.domain' AS source,
      COALESCE(CAST(foreign_domain AS STRING), '') AS row_id,
      COALESCE(CAST(foreign_domain AS STRING), '') AS value
    ),
    STRUCT(
      'what_it_is' AS name,
      'audit.foreign_domains.looks_like' AS source,
      COALESCE(CAST(foreign_domain AS STRING), '') AS row_id,
      COALESCE(CAST(what_it_is AS STRING), '') AS value
    )
  ) AS evidence
FROM (
  SELECT
    occurred_on + CAST(:matures_after_days AS INT) AS audit_on,
    transaction_id,
    (
      ROUND((
        domain_share
      ) * 10000) / 10000
    ) AS measured,
    :company_share AS threshold,
    amount,
    vendor,
    occurred_on AS charged_on,
    approver,
    approved_on,
    email_id,
    foreign_domain,
    CASE
      WHEN looks_like IS NULL
      THEN 'none of the company\'s domains'
      ELSE 'a look-alike of the company\'s ' || looks_like
    END AS what_it_is
  FROM audit.approved_charges AS approved_charges
  WHERE
    standing = 'foreign'
    AND amount >= :limit
    AND occurred_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
) AS hit
