-- Pairs that may be the same payment: equal amount with any name, or the same vendor with an
-- amount within the tolerance; both within the window of days. The keys are hashed (amount, or
-- vendor × amount bucket × week), so that the work grows with the rows and not with their square.
-- Each term of the score is a column: amount (50), days (25), vendor (15), person (10). Pairs that
-- even the full vendor term cannot lift to the lowest score are left out: they are most of all.
WITH lefts AS (
  SELECT *, CAST(floor(line_on_number / ($window_days + 1)) AS INTEGER) AS day_bucket,
    CAST(floor(ln(greatest(abs(cents), 1)) / greatest(ln(1 + $tolerance_above), -ln(1 - $tolerance_below))) AS INTEGER) AS amount_bucket
  FROM (SELECT *, CAST(line_on - DATE '2000-01-01' AS INTEGER) AS line_on_number FROM {left} WHERE line_on <= $to_on) AS l
),
rights AS (
  SELECT *, CAST(floor(line_on_number / ($window_days + 1)) AS INTEGER) AS day_bucket,
    CAST(floor(ln(greatest(abs(cents), 1)) / greatest(ln(1 + $tolerance_above), -ln(1 - $tolerance_below))) AS INTEGER) AS amount_bucket
  FROM (SELECT *, CAST(line_on - DATE '2000-01-01' AS INTEGER) AS line_on_number FROM {right} WHERE line_on <= $to_on) AS r
),
spread AS (
  SELECT *, unnest([day_bucket - 1, day_bucket, day_bucket + 1]) AS near_bucket FROM rights
),
by_amount AS (
  SELECT l.line_id AS left_id, r.line_id AS right_id
  FROM lefts AS l
  JOIN spread AS r ON r.cents = l.cents AND r.near_bucket = l.day_bucket
  WHERE abs(r.line_on_number - l.line_on_number) <= $window_days
),
by_vendor AS (
  SELECT l.line_id AS left_id, r.line_id AS right_id
  FROM lefts AS l
  JOIN (
    SELECT *, unnest([amount_bucket - 1, amount_bucket, amount_bucket + 1]) AS near_amount
    FROM spread
  ) AS r
    ON r.vendor_id = l.vendor_id AND r.near_bucket = l.day_bucket
    AND r.near_amount = l.amount_bucket
  WHERE abs(r.line_on_number - l.line_on_number) <= $window_days
    AND l.cents - r.cents BETWEEN -$tolerance_below * abs(r.cents) AND $tolerance_above * abs(r.cents)
),
pairs AS (
  SELECT left_id, right_id FROM by_amount UNION SELECT left_id, right_id FROM by_vendor
),
scored AS (
  SELECT pairs.left_id, pairs.right_id, l.line_on AS left_on, r.line_on AS right_on,
    l.cents AS left_cents, r.cents AS right_cents,
    l.vendor_key AS left_vendor, r.vendor_key AS right_vendor,
    l.vendor_id = r.vendor_id AS same_vendor,
    CASE
      WHEN l.cents = r.cents THEN 50
      ELSE CAST(round(40 * (1 - abs(l.cents - r.cents)
        / greatest($tolerance_above, $tolerance_below) / greatest(abs(r.cents), 1))) AS INTEGER)
    END AS amount_points,
    CAST(round(25 * (1 - abs(r.line_on_number - l.line_on_number) / ($window_days + 1))) AS INTEGER)
      AS days_points,
    CASE WHEN l.person = '' OR r.person = '' THEN 5 WHEN l.person = r.person THEN 10 ELSE -25 END
      AS person_points
  FROM pairs
  JOIN lefts AS l ON l.line_id = pairs.left_id
  JOIN rights AS r ON r.line_id = pairs.right_id
  -- A line whose own counterpart is there by the day of the decision needs no other one.
  WHERE coalesce(l.counterpart_on > r.line_on + CAST($window_days AS INTEGER), true)
    AND coalesce(r.counterpart_on > r.line_on + CAST($window_days AS INTEGER), true)
)
SELECT * FROM scored
WHERE amount_points + days_points + person_points + $vendor_points >= $score_low
