-- Mail domains that gave approvals in a month and were none of the company's before it. The
-- company's are those from which at least a share of all wrote who had asked for an approval or
-- given one before that month, and the domains below these. Where too few had, none is foreign.
-- `looks_like`: the company's domain that it could be taken for, by letters that look alike, by a
-- letter or two, or by another ending.
WITH voices AS (
  SELECT approved_on, regexp_extract(approver, '@([^@>\s]+)', 1) AS domain FROM audit.approvals
  UNION ALL
  SELECT approved_on, regexp_extract(requester, '@([^@>\s]+)', 1) FROM audit.approvals
),
giving AS (
  SELECT DISTINCT CAST(date_trunc('month', approved_on) AS DATE) AS month_on,
    regexp_extract(approver, '@([^@>\s]+)', 1) AS domain
  FROM audit.approvals
),
counted AS (
  SELECT months.month_on, voices.domain, count(*) AS seen
  FROM (SELECT DISTINCT month_on FROM giving) AS months
  JOIN voices ON voices.approved_on < months.month_on
  WHERE voices.domain <> ''
  GROUP BY months.month_on, voices.domain
),
shares AS (
  SELECT month_on, domain, seen / sum(seen) OVER (PARTITION BY month_on) AS share,
    sum(seen) OVER (PARTITION BY month_on) AS seen_by_then
  FROM counted
),
own AS (
  SELECT month_on, domain,
    replace(replace(translate(domain, '01i5', 'olls'), 'rn', 'm'), 'vv', 'w') AS skeleton
  FROM shares
  WHERE share >= $company_share AND seen_by_then >= $voices_min
),
beside AS (
  SELECT giving.month_on, giving.domain, own.domain AS own_domain,
    giving.domain = own.domain
      OR right(giving.domain, length(own.domain) + 1) = '.' || own.domain AS is_own,
    (length(own.domain) >= 6 AND levenshtein(
        replace(replace(translate(giving.domain, '01i5', 'olls'), 'rn', 'm'), 'vv', 'w'),
        own.skeleton) <= CASE WHEN length(own.domain) >= 10 THEN 2 ELSE 1 END)
      OR (length(split_part(own.domain, '.', 1)) >= 4
        AND split_part(own.domain, '.', 1) = split_part(giving.domain, '.', 1)) AS is_alike
  FROM giving
  JOIN own ON own.month_on = giving.month_on
  WHERE giving.domain <> ''
)
SELECT beside.month_on, beside.domain, coalesce(max(shares.share), 0) AS share,
  min(CASE WHEN beside.is_alike THEN beside.own_domain END) AS looks_like
FROM beside
LEFT JOIN shares ON shares.month_on = beside.month_on AND shares.domain = beside.domain
GROUP BY beside.month_on, beside.domain
HAVING count(*) FILTER (WHERE beside.is_own) = 0
