-- Formats 1 to 3 to format 4, second part: copies the old tables into the new ones, and drops them.

CREATE TEMP TABLE old_window AS  -- every series that anything hangs on
    SELECT provider, account, window FROM old_series
    UNION SELECT provider, account, window FROM old_alert
    UNION SELECT provider, account, window FROM old_transition
    UNION SELECT record ->> '$.series.provider', coalesce(record ->> '$.series.account', ''),
        record ->> '$.series.window' FROM old_silence WHERE json_valid(record)
    UNION SELECT value ->> '$.series.provider', coalesce(value ->> '$.series.account', ''),
        value ->> '$.series.window' FROM delivery, json_each(iif(json_valid(record), record, '{}'), '$.about');
DELETE FROM old_window WHERE provider IS NULL OR window IS NULL;

INSERT INTO account (provider, key, snapshot, failure, failing_since, failures, polled_at)
    SELECT provider, account, convert_record('Snapshot', snapshot), convert_record('PollFailure', failure),
        failing_since, failures, asked_at FROM old_account ORDER BY provider, account;
INSERT OR IGNORE INTO account (provider, key) SELECT DISTINCT provider, account FROM old_window;
INSERT INTO series SELECT old_series.id, account.id, window, kind, label, unit, window_seconds,
    convert_record('SeriesState', state)
    FROM old_series JOIN account ON account.provider = old_series.provider AND key = account;
INSERT OR IGNORE INTO series (account, window) SELECT account.id, window
    FROM old_window JOIN account ON account.provider = old_window.provider AND key = account;

CREATE TEMP TABLE numbered AS SELECT series.id, provider, key AS account, window,
    provider || iif(key = '', '', '[' || key || ']') || iif(window = '', '', '.' || window) AS written
    FROM series JOIN account ON account.id = series.account;
CREATE INDEX temp.numbered_key ON numbered (provider, account, window);

INSERT INTO alert SELECT rule, numbered.id, convert_record('AlertState', state)
    FROM old_alert JOIN numbered USING (provider, account, window);
INSERT INTO transition SELECT old_transition.id, at, rule, numbered.id, convert_record('Transition', record)
    FROM old_transition JOIN numbered USING (provider, account, window);
INSERT INTO suppression SELECT silence.id, at, rule, numbered.id, convert_record('Suppression', record)
    FROM (SELECT id, at, rule, iif(json_valid(record), record, '{}') AS record FROM old_silence) AS silence
    JOIN numbered ON provider = record ->> '$.series.provider'
    AND account = coalesce(record ->> '$.series.account', '') AND window = record ->> '$.series.window';
INSERT INTO delivery_transition SELECT delivery.id, one.key, numbered.id, convert_record('Transition', one.value)
    FROM delivery, json_each(iif(json_valid(record), record, '{}'), '$.about') AS one
    JOIN numbered ON provider = one.value ->> '$.series.provider'
    AND account = coalesce(one.value ->> '$.series.account', '') AND window = one.value ->> '$.series.window';
UPDATE delivery SET record = convert_record('Delivery', record);

INSERT INTO failed_poll SELECT account.id, began_at, kind, message, retry_at
    FROM old_outage JOIN account ON account.provider = old_outage.provider AND key = account;
INSERT OR IGNORE INTO failed_poll SELECT account.id, began_at + sum(gap.value) OVER
    (PARTITION BY old_outage.provider, account, began_at ORDER BY gap.key), kind, message, NULL
    FROM old_outage JOIN account ON account.provider = old_outage.provider AND account.key = account,
    json_each('[' || replace(gaps, ' ', ',') || ']') AS gap;
INSERT OR IGNORE INTO failed_poll  -- of formats 1 and 2: when the present failure began, and its last poll
    SELECT account.id, moment.value, coalesce(failure ->> '$.kind', ''), coalesce(failure ->> '$.message', ''), NULL
    FROM account, json_each(json_array(failing_since, polled_at)) AS moment
    WHERE json_valid(failure) AND moment.value IS NOT NULL;

UPDATE snooze SET record = json_set(record, '$.episodes', (
    SELECT json_group_object(CAST(numbered.id AS TEXT), one.value)
    FROM json_each(record, '$.episodes') AS one JOIN numbered ON written = one.key
    )) WHERE json_valid(record) AND json_type(record, '$.episodes') = 'object';
UPDATE snooze SET record = convert_record('Snooze', record);
INSERT INTO stopped_channel SELECT channel, convert_record('StoppedChannel', record) FROM old_stop;
INSERT INTO next_poll SELECT * FROM old_poll;

CREATE TEMP TABLE login AS SELECT substr(name, 8) AS provider, value FROM fact
    WHERE name LIKE 'logins %' AND json_valid(value);
UPDATE account SET (requested_with, requested_at) = (
    SELECT asked.value, CAST(round((julianday((
        SELECT moment.value FROM json_each(login.value, '$.asked_at') AS moment WHERE moment.key = asked.key
        )) - 2440587.5) * 86400000) AS INTEGER)
    FROM login, json_each(login.value, '$.asked_with') AS asked
    WHERE login.provider = account.provider AND asked.key = account.key);
INSERT INTO account_alias SELECT account.id, 'place', login.value ->> '$.nameless' FROM login JOIN account
    ON account.provider = login.provider AND key = '' WHERE login.value ->> '$.nameless' <> '';
INSERT OR IGNORE INTO account_alias SELECT account.id, 'token', owner.key
    FROM login, json_each(login.value, '$.owners') AS owner
    JOIN account ON account.provider = login.provider AND iif(owner.value = '', requested_with = owner.key,
        lower(owner.value) IN (lower(account.key),
        lower(iif(json_valid(snapshot), snapshot, '{}') ->> '$.account_name')));
DELETE FROM fact WHERE name LIKE 'logins %';
DROP TABLE temp.old_window; DROP TABLE temp.numbered; DROP TABLE temp.login;
DROP TABLE temp.old_account; DROP TABLE temp.old_series; DROP TABLE temp.old_alert; DROP TABLE temp.old_transition;
DROP TABLE temp.old_silence; DROP TABLE temp.old_outage; DROP TABLE temp.old_poll; DROP TABLE temp.old_stop;
