-- Documents that speak of a suspicious charge, as far as they were there on the audit date: its
-- matched receipt, mail in the window that names its amount or its vendor, the nearest other mails
-- of a thread in which one does, calendar events of the cardholder around it, and what the search
-- found beside these. `strength` (0 to 100) says how much the document has in common with it; an id
-- that a mail lists as related is a hint, never proof.
WITH suspects AS (
  SELECT suspect.audit_on, suspect.transaction_id, entry.occurred_on, entry.amount,
    list_filter(
      list_concat(string_split(entry.vendor_key, ' '),
        string_split(lower(coalesce(entry.vendor_name, '')), ' ')),
      lambda word: length(word) >= 4) AS vendor_words,
    list_filter(string_split(lower(entry.cardholder), ' '), lambda word: length(word) >= 3)
      AS person_words
  FROM audit.suspects AS suspect
  JOIN audit.transactions AS entry ON entry.transaction_id = suspect.transaction_id
),
mails AS (
  SELECT email_id, audit_on AS sent_on, date AS sent_at, subject || ': ' || body AS text,
    lower(subject || ' ' || body) AS words, related_transactions,
    coalesce(thread_id,
      'subject:' || nullif(regexp_replace(lower(subject), '^((re|fwd?|aw): *)+', ''), ''))
      AS thread_key,
    thread_id IS NOT NULL OR regexp_matches(lower(subject), '^(re|fwd?|aw):') AS is_in_thread,
    list_transform(
      regexp_extract_all(subject || ' ' || body,
        '[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{2})?|[0-9]+\.[0-9]{2}'),
      lambda found: TRY_CAST(replace(found, ',', '') AS DECIMAL(18,2))) AS amounts
  FROM gold.emails
  WHERE email_id IS NOT NULL AND subject IS NOT NULL AND body IS NOT NULL AND date IS NOT NULL
    AND CAST(date AS DATE) <= audit_on
),
naming AS (
  SELECT * FROM (
    SELECT suspects.audit_on, suspects.transaction_id, suspects.occurred_on, mails.email_id,
      mails.thread_key, mails.is_in_thread, mails.sent_at, mails.text,
      (CASE WHEN list_contains(mails.amounts, suspects.amount) THEN 50 ELSE 0 END)
        + (CASE WHEN array_length(list_filter(suspects.vendor_words,
            lambda word: contains(mails.words, word))) > 0 THEN 40 ELSE 0 END)
        + (CASE WHEN list_contains(mails.related_transactions, suspects.transaction_id)
            THEN 10 ELSE 0 END) AS strength
    FROM suspects
    JOIN mails ON mails.sent_on BETWEEN suspects.occurred_on - CAST($window_days AS INTEGER)
      AND least(suspects.occurred_on + CAST($window_days AS INTEGER), suspects.audit_on)
  ) AS in_window
  WHERE strength >= 40
),
-- A thread by its subject needs an answer in it: a weekly letter has one subject and is no thread.
by_thread AS (
  SELECT naming.audit_on, naming.transaction_id, other.email_id, other.text,
    max(CASE WHEN naming.strength >= 50 THEN 30 ELSE 20 END) AS strength,
    min(abs(epoch(other.sent_at) - epoch(naming.sent_at))) AS seconds_apart
  FROM naming
  JOIN mails AS other ON other.thread_key = naming.thread_key
    AND other.sent_on BETWEEN naming.occurred_on - CAST($window_days AS INTEGER)
      AND least(naming.occurred_on + CAST($window_days AS INTEGER), naming.audit_on)
  ANTI JOIN naming AS itself ON itself.audit_on = naming.audit_on
    AND itself.transaction_id = naming.transaction_id AND itself.email_id = other.email_id
  WHERE naming.is_in_thread OR other.is_in_thread
  GROUP BY naming.audit_on, naming.transaction_id, other.email_id, other.text
),
nearest AS (
  SELECT *, row_number() OVER (PARTITION BY audit_on, transaction_id
    ORDER BY strength DESC, seconds_apart, email_id, text) AS place
  FROM by_thread
),
hits AS (
  SELECT audit_on, transaction_id, 'email' AS name, 'gold.emails.body' AS source,
    email_id AS row_id, text AS quote, strength
  FROM naming
  UNION ALL
  SELECT audit_on, transaction_id, 'thread', 'gold.emails.body', email_id, text, strength
  FROM nearest
  WHERE place <= $per_thread
  UNION ALL
  SELECT suspects.audit_on, suspects.transaction_id, 'receipt', 'gold.receipts.amount',
    match.right_id, receipt.vendor || ' ' || receipt.amount || ' on ' || receipt.line_on,
    CAST(round(100 * match.posterior) AS INTEGER)
  FROM suspects
  JOIN audit.matches AS match ON match.left_id = suspects.transaction_id
    AND match.kind = 'charge_to_receipt' AND match.audit_on <= suspects.audit_on
  JOIN audit.receipts AS receipt ON receipt.receipt_id = match.right_id
  UNION ALL
  SELECT suspects.audit_on, suspects.transaction_id, 'calendar', 'gold.calendar_events.title',
    event.event_id, event.title, 45
  FROM suspects
  JOIN gold.calendar_events AS event
    ON event.audit_on BETWEEN suspects.occurred_on - 1 AND suspects.occurred_on + 1
    AND event.audit_on <= suspects.audit_on
  WHERE event.event_id IS NOT NULL AND event.title IS NOT NULL
    AND array_length(list_filter(suspects.person_words, lambda word: array_length(list_filter(
      coalesce(event.attendees, []), lambda attendee: contains(lower(attendee), word))) > 0)) > 0
  UNION ALL
  SELECT audit_on, transaction_id, 'document', source, row_id, quote, strength
  FROM audit.found_documents
),
once AS (
  SELECT * FROM hits
  WHERE strength >= 40 OR name = 'thread'
  QUALIFY row_number() OVER (PARTITION BY audit_on, transaction_id, row_id
    ORDER BY CASE WHEN name = 'document' THEN 1 ELSE 0 END, strength DESC, name, source, quote) = 1
),
-- In one line, without what a person would not see: the list of model/untrusted.py.
shown AS (
  SELECT audit_on, transaction_id, name, source, row_id, strength,
    regexp_replace(regexp_replace(regexp_replace(quote, '[\s\x{85}\p{Z}]+', ' ', 'g'),
      '[\p{C}\x{34F}\x{115F}\x{1160}\x{17B4}\x{17B5}\x{180B}-\x{180F}\x{2800}\x{3164}'
      || '\x{FE00}-\x{FE0F}\x{FFA0}\x{E0000}-\x{E0FFF}]+', '', 'g'), ' +', ' ', 'g') AS quote
  FROM once
),
ranked AS (
  SELECT audit_on, transaction_id, name, source, row_id, left(trim(quote), 160) AS quote,
    row_number() OVER (PARTITION BY audit_on, transaction_id
      ORDER BY strength DESC, name, row_id, source) AS place
  FROM shown
)
SELECT audit_on, transaction_id, 'CX-04' AS rule_id, CAST($rule_version AS INTEGER) AS rule_version,
  CAST(count(*) AS DECIMAL(18,4)) AS measured, CAST(0 AS DECIMAL(18,4)) AS threshold,
  CAST(0 AS INTEGER) AS score,
  list({'name': name, 'source': source, 'row_id': row_id, 'value': quote} ORDER BY place)
    AS evidence
FROM ranked
WHERE place <= $per_transaction
GROUP BY audit_on, transaction_id
