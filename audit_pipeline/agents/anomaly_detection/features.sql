-- One row per audited charge (and per sampled earlier charge, for training), with how far its
-- amount lies from what is usual. Each level leans on the one above it: with n charges of its own
-- and the weight k, a pair trusts itself by n / (n + k) and its vendor for the rest, the vendor
-- likewise its category, the category the company. Distances are in robust sigmas.
WITH months AS (
  SELECT baseline_on, charges AS charges_known, median, upper_decile,
    greatest((upper_quartile - lower_quartile) / 1.349, $spread_min) AS spread,
    first_payments
  FROM audit.profiles
  WHERE level = 'company'
),
-- Drawn once for a charge, not again for every month.
lots AS MATERIALIZED (
  SELECT transaction_id, occurred_on, CAST('0x' || left(md5(transaction_id), 6) AS INTEGER) AS lot
  FROM audit.transactions
  WHERE cents > 0
),
rows_wanted AS (
  SELECT transaction_id, CAST(date_trunc('month', audit_on) AS DATE) AS baseline_on,
    false AS training
  FROM audit.transactions
  WHERE audit_on BETWEEN $from_on AND $to_on AND cents > 0
  UNION ALL
  SELECT entry.transaction_id, months.baseline_on, true
  FROM lots AS entry
  JOIN months ON entry.occurred_on < months.baseline_on
    AND entry.occurred_on >= months.baseline_on - CAST($baseline_days AS INTEGER)
    AND entry.lot < 16777216.0 * $sample_rows / greatest(months.charges_known, 1)
),
known AS (
  SELECT wanted.training, wanted.baseline_on, entry.transaction_id, entry.audit_on, entry.payer,
    entry.vendor_id, entry.vendor, entry.vendor_name, entry.category, entry.amount,
    entry.occurred_on, ln(entry.cents / 100) AS log_amount, isodow(entry.occurred_on) AS weekday,
    entry.occurred_at = firsts.pair_first_at AS is_pair_first,
    entry.occurred_at = firsts.vendor_first_at AS is_vendor_first,
    coalesce(months.charges_known, 0) AS company_charges, months.first_payments AS company_firsts,
    months.median AS company_median, months.spread AS company_spread, months.upper_decile,
    coalesce(category.charges, 0) AS category_charges, category.median AS category_median,
    greatest((category.upper_quartile - category.lower_quartile) / 1.349, $spread_min)
      AS category_spread,
    coalesce(vendor.charges, 0) AS vendor_charges, vendor.median AS vendor_median,
    greatest((vendor.upper_quartile - vendor.lower_quartile) / 1.349, $spread_min)
      AS vendor_spread,
    coalesce(pair.charges, 0) AS pair_charges, pair.median AS pair_median,
    greatest((pair.upper_quartile - pair.lower_quartile) / 1.349, $spread_min) AS pair_spread,
    coalesce(payer.charges, 0) AS payer_charges, payer.median AS payer_median,
    greatest((payer.upper_quartile - payer.lower_quartile) / 1.349, $spread_min) AS payer_spread,
    coalesce(payer.first_payments, 0) AS payer_firsts,
    coalesce(payer_weekday.charges, 0) AS payer_weekday_charges,
    coalesce(weekdays.charges, 0) AS weekday_charges
  FROM rows_wanted AS wanted
  JOIN audit.transactions AS entry ON entry.transaction_id = wanted.transaction_id
  JOIN audit.firsts AS firsts
    ON firsts.vendor_id = entry.vendor_id AND firsts.payer = entry.payer
  LEFT JOIN months ON months.baseline_on = wanted.baseline_on
  LEFT JOIN (SELECT * FROM audit.profiles WHERE level = 'category') AS category
    ON category.baseline_on = wanted.baseline_on AND category.category = entry.category
  LEFT JOIN (SELECT * FROM audit.profiles WHERE level = 'vendor') AS vendor
    ON vendor.baseline_on = wanted.baseline_on AND vendor.vendor_id = entry.vendor_id
  LEFT JOIN (SELECT * FROM audit.profiles WHERE level = 'payer') AS payer
    ON payer.baseline_on = wanted.baseline_on AND payer.payer = entry.payer
  LEFT JOIN (SELECT * FROM audit.profiles WHERE level = 'pair') AS pair
    ON pair.baseline_on = wanted.baseline_on AND pair.payer = entry.payer
    AND pair.vendor_id = entry.vendor_id
  LEFT JOIN (SELECT * FROM audit.profiles WHERE level = 'payer_weekday') AS payer_weekday
    ON payer_weekday.baseline_on = wanted.baseline_on AND payer_weekday.payer = entry.payer
    AND payer_weekday.weekday = isodow(entry.occurred_on)
  LEFT JOIN (SELECT * FROM audit.profiles WHERE level = 'weekday') AS weekdays
    ON weekdays.baseline_on = wanted.baseline_on
    AND weekdays.weekday = isodow(entry.occurred_on)
),
by_category AS (
  SELECT *,
    (category_charges * coalesce(category_median, 0) + $shrink_weight * company_median)
      / (category_charges + $shrink_weight) AS category_usual,
    sqrt((category_charges * power(coalesce(category_spread, 0), 2)
      + $shrink_weight * power(company_spread, 2)) / (category_charges + $shrink_weight))
      AS category_sigma
  FROM known
),
by_vendor AS (
  SELECT *,
    (vendor_charges * coalesce(vendor_median, 0) + $shrink_weight * category_usual)
      / (vendor_charges + $shrink_weight) AS vendor_usual,
    sqrt((vendor_charges * power(coalesce(vendor_spread, 0), 2)
      + $shrink_weight * power(category_sigma, 2)) / (vendor_charges + $shrink_weight))
      AS vendor_sigma
  FROM by_category
),
by_pair AS (
  SELECT *,
    (pair_charges * coalesce(pair_median, 0) + $shrink_weight * vendor_usual)
      / (pair_charges + $shrink_weight) AS pair_usual,
    sqrt((pair_charges * power(coalesce(pair_spread, 0), 2)
      + $shrink_weight * power(vendor_sigma, 2)) / (pair_charges + $shrink_weight)) AS pair_sigma,
    (payer_charges * coalesce(payer_median, 0) + $shrink_weight * company_median)
      / (payer_charges + $shrink_weight) AS payer_usual,
    sqrt((payer_charges * power(coalesce(payer_spread, 0), 2)
      + $shrink_weight * power(company_spread, 2)) / (payer_charges + $shrink_weight))
      AS payer_sigma
  FROM by_vendor
)
SELECT training, baseline_on, transaction_id, audit_on, payer, vendor_id, vendor, vendor_name,
  category, amount, occurred_on, weekday, is_pair_first, is_vendor_first, company_charges,
  upper_decile, vendor_charges, pair_charges, payer_charges, log_amount,
  (log_amount - pair_usual) / pair_sigma AS pair_distance,
  (log_amount - vendor_usual) / vendor_sigma AS vendor_distance,
  (log_amount - category_usual) / category_sigma AS category_distance,
  (log_amount - payer_usual) / payer_sigma AS payer_distance,
  CAST(exp(pair_usual) AS DECIMAL(18,2)) AS usual_amount,
  CASE WHEN is_pair_first THEN
    -log2((payer_firsts + $shrink_weight * company_firsts / company_charges)
      / (payer_charges + $shrink_weight)) ELSE 0 END AS novelty_bits,
  -log2((payer_weekday_charges + $shrink_weight * (weekday_charges + 1) / (company_charges + 7))
    / (payer_charges + $shrink_weight)) AS weekday_bits
FROM by_pair
