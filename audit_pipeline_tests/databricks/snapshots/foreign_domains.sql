-- Mail domains that gave approvals in a month and were none of the company's before it. The
-- company's are those from which at least a share of all wrote who had asked for an approval or
-- given one before that month, and the domains below these. Where too few had, none is foreign.
-- `looks_like`: the company's domain that it could be taken for, by letters that look alike, by a
-- letter or two, or by another ending.

WITH voices AS (
  SELECT
    approved_on,
    REGEXP_EXTRACT(approver, '@([^@>\\t\\n\\f\\r ]+)', 1) AS domain
  FROM audit.approvals AS approvals
  UNION ALL
  SELECT
    approved_on,
    REGEXP_EXTRACT(requester, '@([^@>\\t\\n\\f\\r ]+)', 1)
  FROM audit.approvals AS approvals
), giving AS (
  SELECT DISTINCT
    CAST(DATE_TRUNC('MONTH', approved_on) AS DATE) AS month_on,
    REGEXP_EXTRACT(approver, '@([^@>\\t\\n\\f\\r ]+)', 1) AS domain
  FROM audit.approvals AS approvals
), counted AS (
  SELECT
    months.month_on,
    voices.domain,
    COUNT(*) AS seen
  FROM (
    SELECT DISTINCT
      month_on
    FROM giving
  ) AS months
  JOIN voices
    ON voices.approved_on < months.month_on
  WHERE
    voices.domain <> ''
  GROUP BY
    months.month_on,
    voices.domain
), shares AS (
  SELECT
    month_on,
    domain,
    CAST(seen AS DOUBLE) / SUM(seen) OVER (PARTITION BY month_on) AS share,
    SUM(seen) OVER (PARTITION BY month_on) AS seen_by_then
  FROM counted
), own AS (
  SELECT
    month_on,
    domain,
    REPLACE(REPLACE(TRANSLATE(domain, '01i5', 'olls'), 'rn', 'm'), 'vv', 'w') AS skeleton
  FROM shares
  WHERE
    share >= :company_share AND seen_by_then >= :voices_min
), beside AS (
  SELECT
    giving.month_on,
    giving.domain,
    own.domain AS own_domain,
    giving.domain = own.domain
    OR RIGHT(giving.domain, LENGTH(own.domain) + 1) = '.' || own.domain AS is_own,
    (
      LENGTH(own.domain) >= 6
      AND LEVENSHTEIN(
        DECODE(
          ENCODE(
            REPLACE(REPLACE(TRANSLATE(giving.domain, '01i5', 'olls'), 'rn', 'm'), 'vv', 'w'),
            'UTF-8'
          ),
          'ISO-8859-1'
        ),
        DECODE(ENCODE(own.skeleton, 'UTF-8'), 'ISO-8859-1')
      ) <= CASE WHEN LENGTH(own.domain) >= 10 THEN 2 ELSE 1 END
    )
    OR (
      LENGTH(SPLIT_PART(own.domain, '.', 1)) >= 4
      AND SPLIT_PART(own.domain, '.', 1) = SPLIT_PART(giving.domain, '.', 1)
    ) AS is_alike
  FROM giving
  JOIN own
    ON own.month_on = giving.month_on
  WHERE
    giving.domain <> ''
)
SELECT
  beside.month_on,
  beside.domain,
  COALESCE(MAX(shares.share), 0) AS share,
  MIN(CASE WHEN beside.is_alike THEN beside.own_domain END) AS looks_like
FROM beside
LEFT JOIN shares
  ON shares.month_on = beside.month_on AND shares.domain = beside.domain
GROUP BY
  beside.month_on,
  beside.domain
HAVING
  COUNT(*) FILTER(WHERE
    beside.is_own) = 0
