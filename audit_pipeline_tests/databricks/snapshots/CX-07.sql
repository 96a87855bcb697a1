-- CX-07 Documents made after the fact: an approval more than two weeks after its charge, when its
-- absence had been found, and a receipt dated later than receipts are. Each belongs to the last
-- charge of its exact amount and its vendor that has no such document, if it belongs to no other;
-- it is asked for when the charges that it could have preceded are there too. When a receipt was
-- handed in is not in gold: its own date is what counts.

WITH approvals AS (
  SELECT
    fit.approved_on AS made_on,
    fit.transaction_id,
    fit.occurred_on,
    fit.amount,
    fit.vendor,
    'The approval' AS document,
    fit.email_id,
    CAST(NULL AS STRING) AS receipt_id,
    14 AS usual_days
  FROM audit.approval_fits AS fit
  JOIN audit.approved_charges AS charge
    ON charge.transaction_id = fit.transaction_id
  LEFT JOIN audit.approval_fits AS other
    ON other.email_id = fit.email_id
    AND other.approved_on <= other.occurred_on + 14
    AND other.occurred_on <= fit.approved_on + CAST(:matures_after_days AS INT)
  WHERE
    fit.amount >= :limit
    AND fit.approved_on > fit.occurred_on + 14
    AND fit.approved_on <= fit.occurred_on + CAST(:late_days AS INT)
    AND charge.email_id IS NULL
    AND other.email_id IS NULL
), unmatched /* Most receipts are somebody's: those fall away before a charge is looked for. */ AS (
  SELECT
    receipt.receipt_id,
    receipt.line_on,
    receipt.cents,
    receipt.person,
    COALESCE(entity.vendor_name, named.vendor_key) AS payee
  FROM audit.receipts AS receipt
  JOIN audit.vendor_keys AS named
    ON named.vendor = receipt.vendor
  JOIN audit.vendor_entities AS entity
    ON entity.vendor_key = named.vendor_key
  LEFT JOIN audit.matches AS match
    ON match.right_id = receipt.receipt_id
    AND match.kind = 'charge_to_receipt'
    AND match.audit_on <= receipt.line_on + CAST(:matures_after_days AS INT)
  WHERE
    match.right_id IS NULL
), receipts AS (
  SELECT
    receipt.line_on AS made_on,
    entry.transaction_id,
    entry.occurred_on,
    entry.amount,
    entry.vendor,
    'The receipt' AS document,
    CAST(NULL AS STRING) AS email_id,
    receipt.receipt_id,
    CAST(:receipt_days AS INT) AS usual_days
  FROM unmatched AS receipt
  JOIN audit.transactions AS entry
    ON entry.cents = receipt.cents
    AND COALESCE(entry.vendor_name, entry.vendor_key) = receipt.payee
    AND receipt.line_on BETWEEN entry.occurred_on + CAST(:receipt_days AS INT) + 1 AND entry.occurred_on + CAST(:late_days AS INT)
    AND (
      receipt.person = ''
      OR entry.cardholder = ''
      OR receipt.person = LOWER(TRANSLATE(entry.cardholder, 'İΣ', 'iσ'))
    )
  LEFT JOIN audit.matches AS match
    ON match.left_id = entry.transaction_id
    AND match.kind = 'charge_to_receipt'
    AND match.audit_on <= receipt.line_on + CAST(:matures_after_days AS INT)
  WHERE
    entry.source = 'credit_card'
    AND entry.amount >= :amount_min
    AND match.left_id IS NULL
), belonging AS (
  SELECT
    *
    EXCEPT (rank_0)
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (
        PARTITION BY COALESCE(email_id, receipt_id), document
        ORDER BY occurred_on DESC, transaction_id NULLS LAST
      ) AS rank_0
    FROM (
      SELECT
        *
      FROM approvals
      UNION ALL
      SELECT
        *
      FROM receipts
    ) AS documents
  ) AS ranked
  WHERE
    rank_0 = 1
)
SELECT
  audit_on,
  transaction_id,
  'CX-07' AS rule_id,
  CAST(1 AS INT) AS rule_version,
  CAST(LEAST(GREATEST(measured, -99999999999999), 99999999999999) AS DECIMAL(18, 4)) AS measured,
  CAST(threshold AS DECIMAL(18, 4)) AS threshold,
  CAST(30 AS INT) AS score,
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
      'document' AS name,
      'audit.late_document.document' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(document AS STRING), '') AS value
    ),
    STRUCT(
      'email_id' AS name,
      'gold.emails.email_id' AS source,
      COALESCE(CAST(email_id AS STRING), '') AS row_id,
      COALESCE(CAST(email_id AS STRING), '') AS value
    ),
    STRUCT(
      'receipt_id' AS name,
      'gold.receipts.receipt_id' AS source,
      COALESCE(CAST(receipt_id AS STRING), '') AS row_id,
      COALESCE(CAST(receipt_id AS STRING), '') AS value
    ),
    STRUCT(
      'made_on' AS name,
      'audit.late_document.made_on' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(made_on AS STRING), '') AS value
    ),
    STRUCT(
      'days_after' AS name,
      'audit.late_document.days_after' AS source,
      COALESCE(CAST(transaction_id AS STRING), '') AS row_id,
      COALESCE(CAST(days_after AS STRING), '') AS value
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
    document,
    made_on,
    days_after,
    email_id,
    receipt_id
  FROM (
    SELECT
      made_on + CAST(:matures_after_days AS INT) AS audit_on,
      transaction_id,
      DATEDIFF(CAST(made_on AS DATE), CAST(occurred_on AS DATE)) AS measured,
      usual_days AS threshold,
      amount,
      vendor,
      occurred_on AS charged_on,
      document,
      made_on,
      DATEDIFF(CAST(made_on AS DATE), CAST(occurred_on AS DATE)) AS days_after,
      email_id,
      receipt_id,
      ROW_NUMBER() OVER (
        PARTITION BY made_on, transaction_id
        ORDER BY document NULLS LAST, email_id NULLS LAST, receipt_id NULLS LAST
      ) AS rank_0
    FROM belonging
    WHERE
      made_on BETWEEN :from_on - CAST(:matures_after_days AS INT) AND :to_on - CAST(:matures_after_days AS INT)
  ) AS ranked
  WHERE
    rank_0 = 1
) AS hit
