-- What is usual, as of the first day of each audited month: from the days before it, for every
-- pair of card and vendor, vendor, card, category, the whole company, and the weekdays of each.
-- Left out: quarantined entries (they are not in the population) and repeated charges (AN-05).
-- Amounts are natural logarithms of dollars; medians and quartiles, so that no single charge moves
-- them far. Spread is the interquartile range over 1.349, which is one sigma of a normal.
WITH months AS (
  SELECT DISTINCT CAST(date_trunc('month', audit_on) AS DATE) AS baseline_on
  FROM audit.transactions
  WHERE audit_on BETWEEN $from_on AND $to_on
),
entries AS MATERIALIZED (
  SELECT entry.payer, entry.vendor_id, entry.category, entry.occurred_on,
    isodow(entry.occurred_on) AS weekday, ln(entry.cents / 100) AS log_amount,
    entry.occurred_at = firsts.pair_first_at AS is_pair_first
  FROM audit.transactions AS entry
  JOIN audit.firsts AS firsts
    ON firsts.vendor_id = entry.vendor_id AND firsts.payer = entry.payer
  ANTI JOIN (SELECT transaction_id FROM audit.repeats WHERE bits >= $repeat_bits) AS repeats
    ON repeats.transaction_id = entry.transaction_id
  WHERE entry.cents > 0
),
history AS (
  SELECT months.baseline_on, entries.*
  FROM entries
  JOIN months ON entries.occurred_on < months.baseline_on
    AND entries.occurred_on >= months.baseline_on - CAST($baseline_days AS INTEGER)
),
amounts AS (
  SELECT baseline_on,
    CASE grouping(payer, vendor_id, category)
      WHEN 1 THEN 'pair' WHEN 5 THEN 'vendor' WHEN 3 THEN 'payer' WHEN 6 THEN 'category'
      ELSE 'company'
    END AS level,
    payer, vendor_id, category, CAST(NULL AS BIGINT) AS weekday, count(*) AS charges,
    count(*) FILTER (WHERE is_pair_first) AS first_payments,
    quantile_cont(log_amount, [0.25, 0.5, 0.75, 0.9]) AS quantiles
  FROM history
  GROUP BY GROUPING SETS (
    (baseline_on, payer, vendor_id), (baseline_on, vendor_id), (baseline_on, payer),
    (baseline_on, category), (baseline_on))
),
weekdays AS (
  SELECT baseline_on,
    CASE grouping(payer) WHEN 0 THEN 'payer_weekday' ELSE 'weekday' END AS level,
    payer, CAST(NULL AS VARCHAR) AS vendor_id, CAST(NULL AS VARCHAR) AS category, weekday,
    count(*) AS charges, CAST(0 AS BIGINT) AS first_payments, CAST([] AS DOUBLE[]) AS quantiles
  FROM history
  GROUP BY GROUPING SETS ((baseline_on, payer, weekday), (baseline_on, weekday))
)
SELECT baseline_on, level, payer, vendor_id, category, weekday, charges, first_payments,
  quantiles[1] AS lower_quartile, quantiles[2] AS median, quantiles[3] AS upper_quartile,
  quantiles[4] AS upper_decile
FROM (SELECT * FROM amounts UNION ALL SELECT * FROM weekdays) AS levels
