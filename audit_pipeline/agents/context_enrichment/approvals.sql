-- Approvals given by mail: who approved what, when. A thread asks (its first message), somebody
-- else answers with an approval; the amounts that the thread names up to that answer are approved.
WITH mails AS (
  SELECT email_id, lower(sender) AS sender, date AS sent_at, audit_on, subject, body,
    coalesce(thread_id, 'subject:' || regexp_replace(lower(subject), '^((re|fwd?|aw): *)+', ''))
      AS thread_key,
    related_transactions
  FROM (
    SELECT *, row_number() OVER (PARTITION BY email_id ORDER BY audit_on, row_number) AS copy_number
    FROM gold.emails
    WHERE email_id IS NOT NULL AND sender IS NOT NULL AND date IS NOT NULL
      AND subject IS NOT NULL AND body IS NOT NULL AND CAST(date AS DATE) <= audit_on
  ) AS emails
  WHERE copy_number = 1
),
asked AS (
  SELECT thread_key, min(sent_at) AS asked_at, arg_min(sender, (sent_at, email_id)) AS requester
  FROM mails GROUP BY thread_key
),
answers AS (
  SELECT mails.*, asked.requester, asked.asked_at
  FROM mails
  JOIN asked ON asked.thread_key = mails.thread_key
  WHERE mails.sender <> asked.requester
    AND regexp_matches(lower(body), '\b(approved|i approve|approve this|go ahead|please proceed|ok to (buy|pay|book|proceed|order)|fine with me)\b')
    AND NOT regexp_matches(lower(body), '\b(not approved|cannot approve|can''t approve|do not go ahead|needs? to be approved|unapproved)\b')
),
said AS (
  SELECT answers.email_id, answers.thread_key, answers.sender AS approver, answers.requester,
    answers.sent_at AS approved_at, answers.audit_on AS approved_on,
    lower(string_agg(mails.subject || ' ' || mails.body, ' ' ORDER BY mails.sent_at, mails.email_id))
      AS words,
    first(answers.body) AS quote
  FROM answers
  JOIN mails ON mails.thread_key = answers.thread_key AND mails.sent_at <= answers.sent_at
  GROUP BY answers.email_id, answers.thread_key, answers.sender, answers.requester,
    answers.sent_at, answers.audit_on
)
SELECT email_id, thread_key, approver, requester, approved_at, approved_on, words, quote,
  list_transform(
    regexp_extract_all(words, '[0-9]{1,3}(?:,[0-9]{3})+(?:\.[0-9]{2})?|[0-9]+(?:\.[0-9]{2})?'),
    lambda text: TRY_CAST(replace(text, ',', '') AS DECIMAL(18,2))) AS amounts
FROM said
