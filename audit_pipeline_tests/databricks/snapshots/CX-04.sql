-- Documents that speak of a suspicious charge, as far as they were there on the audit date: its
-- matched receipt, mail in the window that names its amount or its vendor, the nearest other mails
-- of a thread in which one does, calendar events of the cardholder around it, and what the search
-- found beside these. `strength` (0 to 100) says how much the document has in common with it; an id
-- that a mail lists as related is a hint, never proof.

WITH suspects AS (
  SELECT
    suspect.audit_on,
    suspect.transaction_id,
    entry.occurred_on,
    entry.amount,
    FILTER(
      CONCAT(
        SPLIT(entry.vendor_key, ' '),
        SPLIT(LOWER(TRANSLATE(COALESCE(entry.vendor_name, ''), 'İΣ', 'iσ')), ' ')
      ),
      word -> LENGTH(word) >= 4
    ) AS vendor_words,
    FILTER(
      SPLIT(LOWER(TRANSLATE(entry.cardholder, 'İΣ', 'iσ')), ' '),
      word -> LENGTH(word) >= 3
    ) AS person_words
  FROM audit.suspects AS suspect
  JOIN audit.transactions AS entry
    ON entry.transaction_id = suspect.transaction_id
), mails AS (
  SELECT
    email_id,
    audit_on AS sent_on,
    date AS sent_at,
    subject || ': ' || body AS text,
    LOWER(TRANSLATE(subject || ' ' || body, 'İΣ', 'iσ')) AS words,
    related_transactions,
    COALESCE(
      thread_id,
      'subject:' || NULLIF(
        REGEXP_REPLACE(LOWER(TRANSLATE(subject, 'İΣ', 'iσ')), '^((re|fwd?|aw): *)+', ''),
        ''
      )
    ) AS thread_key,
    NOT thread_id IS NULL
    OR REGEXP_LIKE(LOWER(TRANSLATE(subject, 'İΣ', 'iσ')), '^(re|fwd?|aw):') AS is_in_thread,
    TRANSFORM(
      REGEXP_EXTRACT_ALL(
        subject || ' ' || body,
        '[0-9]{1,3}(?:,[0-9]{3})+(?:\\.[0-9]{2})?|[0-9]+\\.[0-9]{2}',
        0
      ),
      found -> TRY_CAST(REPLACE(found, ',', '') AS DECIMAL(18, 2))
    ) AS amounts
  FROM gold.emails AS emails
  WHERE
    NOT email_id IS NULL
    AND NOT subject IS NULL
    AND NOT body IS NULL
    AND NOT date IS NULL
    AND CAST(date AS DATE) <= audit_on
), naming AS (
  SELECT
    *
  FROM (
    SELECT
      suspects.audit_on,
      suspects.transaction_id,
      suspects.occurred_on,
      mails.email_id,
      mails.thread_key,
      mails.is_in_thread,
      mails.sent_at,
      mails.text,
      (
        CASE
          WHEN ARRAY_CONTAINS(ARRAY_COMPACT(mails.amounts), suspects.amount)
          THEN 50
          ELSE 0
        END
      ) + (
        CASE
          WHEN SIZE(FILTER(suspects.vendor_words, word -> CONTAINS(mails.words, word))) > 0
          THEN 40
          ELSE 0
        END
      ) + (
        CASE
          WHEN ARRAY_CONTAINS(ARRAY_COMPACT(mails.related_transactions), suspects.transaction_id)
          THEN 10
          ELSE 0
        END
      ) AS strength
    FROM suspects
    JOIN mails
      ON mails.sent_on BETWEEN suspects.occurred_on - CAST(:window_days AS INT) AND LEAST(suspects.occurred_on + CAST(:window_days AS INT), suspects.audit_on)
  ) AS in_window
  WHERE
    strength >= 40
), by_thread /* A thread by its subject needs an answer in it: a weekly letter has one subject and is no thread. */ AS (
  SELECT
    naming.audit_on,
    naming.transaction_id,
    other.email_id,
    other.text,
    MAX(CASE WHEN naming.strength >= 50 THEN 30 ELSE 20 END) AS strength,
    MIN(
      ABS(
        (
          CAST(UNIX_MICROS(CAST(other.sent_at AS TIMESTAMP)) AS DOUBLE) / 1000000
        ) - (
          CAST(UNIX_MICROS(CAST(naming.sent_at AS TIMESTAMP)) AS DOUBLE) / 1000000
        )
      )
    ) AS seconds_apart
  FROM naming
  JOIN mails AS other
    ON other.thread_key = naming.thread_key
    AND other.sent_on BETWEEN naming.occurred_on - CAST(:window_days AS INT) AND LEAST(naming.occurred_on + CAST(:window_days AS INT), naming.audit_on)
  ANTI JOIN naming AS itself
    ON itself.audit_on = naming.audit_on
    AND itself.transaction_id = naming.transaction_id
    AND itself.email_id = other.email_id
  WHERE
    naming.is_in_thread OR other.is_in_thread
  GROUP BY
    naming.audit_on,
    naming.transaction_id,
    other.email_id,
    other.text
), nearest AS (
  SELECT
    *,
    ROW_NUMBER() OVER (
      PARTITION BY audit_on, transaction_id
      ORDER BY strength DESC, seconds_apart NULLS LAST, email_id NULLS LAST, text NULLS LAST
    ) AS place
  FROM by_thread
), hits AS (
  SELECT
    audit_on,
    transaction_id,
    'email' AS name,
    'gold.emails.body' AS source,
    email_id AS row_id,
    text AS quote,
    strength
  FROM naming
  UNION ALL
  SELECT
    audit_on,
    transaction_id,
    'thread',
    'gold.emails.body',
    email_id,
    text,
    strength
  FROM nearest
  WHERE
    place <= :per_thread
  UNION ALL
  SELECT
    suspects.audit_on,
    suspects.transaction_id,
    'receipt',
    'gold.receipts.amount',
    match.right_id,
    receipt.vendor || ' ' || receipt.amount || ' on ' || receipt.line_on,
    CAST(ROUND(100 * match.posterior) AS INT)
  FROM suspects
  JOIN audit.matches AS match
    ON match.left_id = suspects.transaction_id
    AND match.kind = 'charge_to_receipt'
    AND match.audit_on <= suspects.audit_on
  JOIN audit.receipts AS receipt
    ON receipt.receipt_id = match.right_id
  UNION ALL
  SELECT
    suspects.audit_on,
    suspects.transaction_id,
    'calendar',
    'gold.calendar_events.title',
    event.event_id,
    event.title,
    45
  FROM suspects
  JOIN gold.calendar_events AS event
    ON event.audit_on BETWEEN suspects.occurred_on - 1 AND suspects.occurred_on + 1
    AND event.audit_on <= suspects.audit_on
  WHERE
    NOT event.event_id IS NULL
    AND NOT event.title IS NULL
    AND SIZE(
      FILTER(
        suspects.person_words,
        word -> SIZE(
          FILTER(
            COALESCE(event.attendees, ARRAY()),
            attendee -> CONTAINS(LOWER(TRANSLATE(attendee, 'İΣ', 'iσ')), word)
          )
        ) > 0
      )
    ) > 0
  UNION ALL
  SELECT
    audit_on,
    transaction_id,
    'document',
    source,
    row_id,
    quote,
    strength
  FROM audit.found_documents AS found_documents
), once AS (
  SELECT
    *
    EXCEPT (rank_0)
  FROM (
    SELECT
      *,
      ROW_NUMBER() OVER (
        PARTITION BY audit_on, transaction_id, row_id
        ORDER BY CASE WHEN name = 'document' THEN 1 ELSE 0 END NULLS LAST, strength DESC, name NULLS LAST, source NULLS LAST, quote NULLS LAST
      ) AS rank_0
    FROM hits
    WHERE
      strength >= 40 OR name = 'thread'
  ) AS ranked
  WHERE
    rank_0 = 1
), shown /* In one line, without what a person would not see: the list of model/untrusted.py. */ AS (
  SELECT
    audit_on,
    transaction_id,
    name,
    source,
    row_id,
    strength,
    REGEXP_REPLACE(
      REGEXP_REPLACE(
        REGEXP_REPLACE(quote, '[\\t\\n\\f\\r \\x{85}\\p{Z}]+', ' '),
        '[\\p{Cc}\\p{Cf}\\p{Cs}\\p{Co}\\x{34F}\\x{115F}\\x{1160}\\x{17B4}\\x{17B5}\\x{180B}-\\x{180F}\\x{2800}\\x{3164}\\x{FE00}-\\x{FE0F}\\x{FFA0}\\x{E0000}-\\x{E0FFF}]+',
        ''
      ),
      ' +',
      ' '
    ) AS quote
  FROM once
), ranked AS (
  SELECT
    audit_on,
    transaction_id,
    name,
    source,
    row_id,
    LEFT(
      TRIM(BOTH '\u0020\u00a0\u1680\u2000\u2001\u2002\u2003\u2004\u2005\u2006\u2007\u2008\u2009\u200a\u202f\u205f\u3000' FROM quote),
      160
    ) AS quote,
    ROW_NUMBER() OVER (
      PARTITION BY audit_on, transaction_id
      ORDER BY strength DESC, name NULLS LAST, row_id NULLS LAST, source NULLS LAST
    ) AS place
  FROM shown
)
SELECT
  audit_on,
  transaction_id,
  'CX-04' AS rule_id,
  CAST(:rule_version AS INT) AS rule_version,
  CAST(COUNT(*) AS DECIMAL(18, 4)) AS measured,
  CAST(0 AS DECIMAL(18, 4)) AS threshold,
  CAST(0 AS INT) AS score,
  TRANSFORM(
    ARRAY_SORT(
      COLLECT_LIST(
        STRUCT(
          place AS key_0,
          STRUCT(name AS name, source AS source, row_id AS row_id, quote AS value) AS value
        )
      )
    ),
    pair -> pair.value
  ) AS evidence
FROM ranked
WHERE
  place <= :per_transaction
GROUP BY
  audit_on,
  transaction_id
