-- CX-06 Charges from $limit on that were approved from a mail domain only that is none of the
-- company's, as these were known before the month of the approval (`audit.foreign_domains`). Left
-- out are charges with a proper approval, and those that the spender's own came first for (CX-05).
-- Measured: the share of voices from that domain, against $company_share, from which a domain is
-- the company's.
SELECT occurred_on + CAST($matures_after_days AS INTEGER) AS audit_on, transaction_id,
  round(domain_share, 4) AS measured, $company_share AS threshold, amount, vendor,
  occurred_on AS charged_on, approver, approved_on, email_id, foreign_domain,
  CASE WHEN looks_like IS NULL THEN 'none of the company''s domains'
    ELSE 'a look-alike of the company''s ' || looks_like END AS what_it_is
FROM audit.approved_charges
WHERE standing = 'foreign' AND amount >= $limit
  AND occurred_on BETWEEN $from_on - CAST($matures_after_days AS INTEGER)
    AND $to_on - CAST($matures_after_days AS INTEGER)
