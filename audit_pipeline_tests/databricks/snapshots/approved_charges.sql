-- Charges from the approval limit on, each with the approval that counts: of those within 45 days
-- before to 14 days after the charge, the first that somebody else gave from a domain of the
-- company; where there is none, the first of the others. `standing`: proper, foreign (from a domain
-- that is none of the company's) or own (the approver is the spender).

WITH judged AS (
  SELECT
    fit.transaction_id,
    fit.email_id,
    fit.approver,
    fit.approved_at,
    fit.approved_on,
    foreign_domain.domain AS foreign_domain,
    foreign_domain.share AS domain_share,
    foreign_domain.looks_like,
    CASE
      WHEN fit.is_own
      THEN 'own'
      WHEN NOT foreign_domain.domain IS NULL
      THEN 'foreign'
      ELSE 'proper'
    END AS standing
  FROM audit.approval_fits AS fit
  LEFT JOIN audit.foreign_domains AS foreign_domain
    ON foreign_domain.month_on = CAST(DATE_TRUNC('MONTH', fit.approved_on) AS DATE)
    AND foreign_domain.domain = REGEXP_EXTRACT(fit.approver, '@([^@>\\t\\n\\f\\r ]+)', 1)
  WHERE
    fit.approved_on <= fit.occurred_on + 14
), best AS (
  SELECT
    *
    EXCEPT (rank_0)
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (
        PARTITION BY transaction_id
        ORDER BY CASE WHEN standing = 'proper' THEN 0 ELSE 1 END NULLS LAST, approved_at NULLS LAST, email_id NULLS LAST, standing NULLS LAST
      ) AS rank_0
    FROM judged
  ) AS ranked
  WHERE
    rank_0 = 1
)
SELECT
  charge.transaction_id,
  charge.occurred_at,
  charge.occurred_on,
  charge.amount,
  charge.vendor,
  charge.cardholder,
  best.approved_at,
  best.approved_on,
  best.email_id,
  best.approver,
  best.standing,
  best.foreign_domain,
  best.domain_share,
  best.looks_like
FROM audit.transactions AS charge
LEFT JOIN best
  ON best.transaction_id = charge.transaction_id
WHERE
  charge.source = 'credit_card' AND charge.amount >= :limit
