-- AN-04 The first payment to a vendor that is not in the vendor master, of a size that only a
-- tenth of the company's charges reach.
SELECT feature.audit_on, feature.transaction_id, feature.amount AS measured,
  CAST(exp(feature.upper_decile) AS DECIMAL(18,2)) AS threshold, feature.amount, feature.vendor,
  CAST(exp(feature.upper_decile) AS DECIMAL(18,2)) AS upper_decile
FROM audit.features AS feature
JOIN audit.vendor_entities AS entity ON entity.vendor_id = feature.vendor_id AND entity.method = 'own'
WHERE NOT feature.training AND feature.is_vendor_first
  AND feature.company_charges >= $history_min AND feature.amount >= exp(feature.upper_decile)
  AND feature.audit_on BETWEEN $from_on AND $to_on
