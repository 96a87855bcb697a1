-- The audited population: one row per ledger entry that is not quarantined, with the vendor's
-- entity, the card or account that paid, and the category where the statement has one.

SELECT
  entry.txn_id AS transaction_id,
  entry.row_number,
  entry.audit_on,
  entry.source,
  entry.amount,
  CAST(CAST(entry.amount AS DECIMAL(22, 2)) * 100 AS BIGINT) AS cents,
  entry.vendor,
  vendor_keys.vendor_key,
  COALESCE(entry.vendor_id, entity.vendor_id) AS vendor_id,
  entity.vendor_name,
  entry.date AS occurred_at,
  CAST(entry.date AS DATE) AS occurred_on,
  COALESCE(entry.domain, 'unassigned') AS domain,
  entry.currency,
  card.card_number,
  COALESCE(card.cardholder, '') AS cardholder,
  COALESCE(card.category, entry.source) AS category,
  COALESCE(
    card.card_number || '/' || NULLIF(card.cardholder, ''),
    card.card_number,
    bank.account_number,
    entry.source
  ) AS payer
FROM gold.recent_transactions AS entry
ANTI JOIN audit.quarantined AS held
  ON held.row_number = entry.row_number
JOIN audit.vendor_keys AS vendor_keys
  ON vendor_keys.vendor = entry.vendor
JOIN audit.vendor_entities AS entity
  ON entity.vendor_key = vendor_keys.vendor_key
LEFT JOIN audit.card_lines AS card
  ON card.line_id = entry.txn_id AND entry.source = 'credit_card'
LEFT JOIN audit.bank_lines AS bank
  ON bank.line_id = entry.txn_id AND entry.source = 'bank'
