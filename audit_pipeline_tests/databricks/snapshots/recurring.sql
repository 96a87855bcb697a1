-- Every charge with what the same card has paid the same vendor before: the usual gap in days and
-- the usual amount of up to six earlier charges, and how far those strayed from it: at most, and in
-- the median, which one late or changed payment does not move. Steady is a series without any.

WITH gaps AS (
  SELECT
    transaction_id,
    audit_on,
    payer,
    vendor_id,
    vendor,
    amount,
    cents,
    occurred_on,
    CAST(occurred_on - LAG(occurred_on) OVER series AS INT) AS gap_days,
    LAG(transaction_id) OVER series AS previous_id,
    LAG(cents) OVER series AS previous_cents
  FROM audit.transactions AS transactions
  WHERE
    cents > 0
  WINDOW series AS (
    PARTITION BY payer, vendor_id
    ORDER BY occurred_on NULLS LAST, transaction_id NULLS LAST
  )
), before AS (
  SELECT
    *,
    COUNT(gap_days) OVER earlier AS gaps_before,
    GET(
      TRANSFORM(
        ARRAY(ARRAY_SORT(COLLECT_LIST(gap_days) OVER earlier)),
        seen -> GET(seen, CAST(CEIL(0.5 * SIZE(seen)) AS INT) - 1)
      ),
      0
    ) AS usual_gap_days,
    GET(
      TRANSFORM(
        ARRAY(ARRAY_SORT(COLLECT_LIST(gap_days) OVER earlier)),
        seen -> GET(TRANSFORM(ARRAY(ARRAY_SORT(TRANSFORM(seen, one -> ABS(one - (CAST(GET(seen, (SIZE(seen) - 1) DIV 2) AS DOUBLE) + GET(seen, SIZE(seen) DIV 2)) / 2)))), strays -> (CAST(GET(strays, (SIZE(strays) - 1) DIV 2) AS DOUBLE) + GET(strays, SIZE(strays) DIV 2)) / 2), 0)
      ),
      0
    ) AS gap_days_spread,
    MIN(gap_days) OVER earlier AS gap_days_min,
    MAX(gap_days) OVER earlier AS gap_days_max,
    GET(
      TRANSFORM(
        ARRAY(ARRAY_SORT(COLLECT_LIST(cents) OVER earlier)),
        seen -> GET(seen, CAST(CEIL(0.5 * SIZE(seen)) AS INT) - 1)
      ),
      0
    ) AS usual_cents,
    GET(
      TRANSFORM(
        ARRAY(ARRAY_SORT(COLLECT_LIST(cents) OVER earlier)),
        seen -> GET(TRANSFORM(ARRAY(ARRAY_SORT(TRANSFORM(seen, one -> ABS(one - (CAST(GET(seen, (SIZE(seen) - 1) DIV 2) AS DOUBLE) + GET(seen, SIZE(seen) DIV 2)) / 2)))), strays -> (CAST(GET(strays, (SIZE(strays) - 1) DIV 2) AS DOUBLE) + GET(strays, SIZE(strays) DIV 2)) / 2), 0)
      ),
      0
    ) AS cents_spread,
    MIN(cents) OVER earlier AS cents_min,
    MAX(cents) OVER earlier AS cents_max
  FROM gaps
  WINDOW earlier AS (
    PARTITION BY payer, vendor_id
    ORDER BY occurred_on NULLS LAST, transaction_id NULLS LAST
    ROWS BETWEEN 6 PRECEDING AND 1 PRECEDING
  )
), judged AS (
  SELECT
    *,
    GREATEST(:tolerance_days, :tolerance_share * usual_gap_days) AS allowed_days,
    GREATEST(gap_days_max - usual_gap_days, usual_gap_days - gap_days_min) <= GREATEST(:tolerance_days, :tolerance_share * usual_gap_days) AS is_steady
  FROM before
)
SELECT
  *
FROM judged
WHERE
  gaps_before >= :gaps_min
  AND usual_gap_days >= :gap_days_min
  AND /* The other half of the gaps stray by more: the median is held to half of what is allowed. */ (
    is_steady OR 2 * gap_days_spread <= allowed_days
  )
