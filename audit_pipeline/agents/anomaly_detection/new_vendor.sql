-- AN-04 The first payment ever to a vendor that is not in the vendor master, of a size that only a
-- tenth of the company's charges of the year before reach. Left out are months with fewer than
-- $history_min charges of history. Measured: the amount, against the upper decile.
SELECT score.audit_on, score.transaction_id, score.amount AS measured,
  score.upper_decile AS threshold, score.amount, score.vendor, score.upper_decile
FROM audit.scores AS score
JOIN audit.vendor_entities AS entity ON entity.vendor_id = score.vendor_id AND entity.method = 'own'
WHERE score.is_vendor_first AND score.company_charges >= $history_min
  AND score.amount >= score.upper_decile
  AND score.audit_on BETWEEN $from_on AND $to_on
