"""The tables, and the script that gives them to a file of an earlier format.

`PRAGMA user_version` is the format of a file. Opening an older file brings it up to date in one transaction, so that an
interrupted migration is repeated as a whole. A file of a newer format is left alone.

Instants are integers, milliseconds since 1970 in UTC. Money and counts are decimal text, so that nothing is rounded.
`state`, `record`, `snapshot` and `failure` are JSON of the structs that they are named after, without what stands in
columns or other tables: above all the account, whose key may change.

For the next format: change `SCHEMA`, raise `FORMAT`, and give `get_script` a script from `FORMAT - 1`.
"""

import json
import sqlite3  # noqa: TID251 - only this package uses it
from typing import Any

FORMAT = 4

SCHEMA = """
    CREATE TABLE account (
        id INTEGER PRIMARY KEY AUTOINCREMENT,
        provider TEXT NOT NULL,
        key TEXT NOT NULL,          -- what it is called now: account id, email, or a hash
        snapshot TEXT,              -- the last good poll
        failure TEXT,               -- NULL while the last poll was good
        failing_since INTEGER,      -- when the failure began
        failures INTEGER NOT NULL DEFAULT 0,  -- polls in a row that failed
        polled_at INTEGER,          -- the last poll, good or bad; NULL: none yet, or only history is left
        requested_at INTEGER,       -- when the provider itself was last asked
        requested_with TEXT,        -- hash of the token it was asked with
        UNIQUE (provider, key)
    ) STRICT;

    CREATE TABLE account_alias (    -- by what else an account is known
        account INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
        kind TEXT NOT NULL,         -- token: hash of a token that proved to be its; place: hash of where its login is
        value TEXT NOT NULL,
        PRIMARY KEY (account, kind, value)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        account INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
        window TEXT NOT NULL,
        kind TEXT NOT NULL DEFAULT '',  -- empty: it never had a reading
        label TEXT NOT NULL DEFAULT '',
        unit TEXT NOT NULL DEFAULT '',
        window_seconds INTEGER,
        state TEXT,                 -- what the engine knows of it
        UNIQUE (account, window)
    ) STRICT;

    CREATE TABLE IF NOT EXISTS reading (  -- every answer, 14 days
        series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        at INTEGER NOT NULL,
        used_percent REAL,
        used TEXT,
        quota TEXT,
        remaining TEXT,
        resets_at INTEGER,
        flags INTEGER NOT NULL,     -- 1 unlimited, 2 stale, 4 low confidence
        source TEXT NOT NULL,
        PRIMARY KEY (series, at)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE IF NOT EXISTS reading_hourly (  -- the last reading of each hour, a year
        series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        at INTEGER NOT NULL,
        used_percent REAL,
        used TEXT,
        quota TEXT,
        remaining TEXT,
        resets_at INTEGER,
        flags INTEGER NOT NULL,
        source TEXT NOT NULL,
        PRIMARY KEY (series, at)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE failed_poll (      -- 14 days
        account INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        message TEXT NOT NULL,
        retry_at INTEGER,
        PRIMARY KEY (account, at)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE alert (
        rule TEXT NOT NULL,
        series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        state TEXT NOT NULL,
        PRIMARY KEY (rule, series)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE transition (       -- a year
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        rule TEXT NOT NULL,
        series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX transition_at ON transition (at);

    CREATE TABLE IF NOT EXISTS delivery (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        channel TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        record TEXT NOT NULL,
        UNIQUE (key, channel)
    ) STRICT;
    CREATE INDEX IF NOT EXISTS delivery_open ON delivery (id) WHERE state IN ('queued', 'held');

    CREATE TABLE delivery_transition (  -- what a delivery says
        delivery INTEGER NOT NULL REFERENCES delivery ON DELETE CASCADE,
        position INTEGER NOT NULL,
        series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        record TEXT NOT NULL,
        PRIMARY KEY (delivery, position)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE suppression (      -- why a change was not sent, not at once or not at all: 14 days, 200 a rule
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        rule TEXT NOT NULL,
        series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX suppression_rule ON suppression (rule, id);

    CREATE TABLE IF NOT EXISTS snooze (
        target TEXT PRIMARY KEY,    -- a rule's name or a written series
        record TEXT NOT NULL        -- its episodes by the numbers of series
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE stopped_channel (  -- it refused for good: nothing is sent until its settings change
        channel TEXT PRIMARY KEY,
        record TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE IF NOT EXISTS cooldown (  -- by token hash: a new token starts without one, a restart does not
        token_hash TEXT PRIMARY KEY,
        until INTEGER NOT NULL,
        strikes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE next_poll (        -- when each provider is polled next, and why
        provider TEXT PRIMARY KEY,
        next_at INTEGER NOT NULL,
        reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE IF NOT EXISTS fact (  -- the daemon's own: heartbeat, last problem with the config, ...
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
"""

_SET_OLD_TABLES_ASIDE = """
    -- format 1 has no table `silence`, and formats 1 and 2 have no `outage`
    CREATE TABLE IF NOT EXISTS silence (id INTEGER, at INTEGER, rule TEXT, record TEXT);
    CREATE TABLE IF NOT EXISTS outage (provider TEXT, account TEXT, began_at INTEGER, kind TEXT, message TEXT,
        retry_at INTEGER, gaps TEXT);
    CREATE TEMP TABLE old_account AS SELECT * FROM account; DROP TABLE account;
    CREATE TEMP TABLE old_series AS SELECT * FROM series; DROP TABLE series;
    CREATE TEMP TABLE old_alert AS SELECT * FROM alert; DROP TABLE alert;
    CREATE TEMP TABLE old_transition AS SELECT * FROM transition; DROP TABLE transition;
    CREATE TEMP TABLE old_silence AS SELECT * FROM silence; DROP TABLE silence;
    CREATE TEMP TABLE old_outage AS SELECT * FROM outage; DROP TABLE outage;
    CREATE TEMP TABLE old_poll AS SELECT * FROM poll; DROP TABLE poll;
    CREATE TEMP TABLE old_stop AS SELECT * FROM stop; DROP TABLE stop;
"""

_COPY_OLD_TABLES = """
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
"""

_IN_COLUMNS = {
    "Snapshot": ("provider", "account"),
    "PollFailure": ("provider", "account"),
    "SeriesState": ("series",),
    "AlertState": ("series",),
    "Transition": ("series",),
    "Delivery": ("about",),
    "Suppression": ("series", "said"),
    "Snooze": ("target",),
}
"""Keys of old JSON that have columns, or rows of another table, since format 4."""
_RENAMED = {
    "Snapshot": {"whole": "complete"},
    "SeriesState": {
        "boundary": "boundary_at",
        "doubt": "suspect",
        "doubts": "suspect_count",
        "standing": "validity",
        "heard_at": "last_seen_at",
        "asked_at": "polled_at",
        "watched_from": "resumed_at",
    },
    "SuspectReading": {"at": "received_at", "turn": "is_reset"},
    "AlertState": {
        "at": "changed_at",
        "step": "level_index",
        "told": "notified_level_index",
        "heard": "notified_severities",
        "held": "met_for",
        "clock_at": "timers_at",
        "silent_at": "unknown_since",
        "fired": "fired_count",
        "reminded": "reminder_count",
        "muted": "inhibited",
    },
    "Transition": {"heard": "notified_severities", "nth": "occurrence"},
    "Suppression": {"at": "decided_at", "key": "transition_key"},
    "Delivery": {"doubted": "was_in_doubt", "outcome": "last_response"},
    "Snooze": {"until": "expires_at"},
    "StoppedChannel": {"settings": "settings_fingerprint", "at": "stopped_at"},
}
"""Old JSON keys and their names since format 4."""


def prepare(connection: sqlite3.Connection) -> None:
    """Register the SQL function that the script calls."""
    connection.create_function("convert_record", 2, _convert_record, deterministic=True)


def _convert_record(kind: str, text: str | None) -> str | None:
    """A record of an earlier format as format 4 has it; one that cannot be read stays the same."""
    try:
        old = json.loads(text or "")
    except ValueError:
        return text
    if not isinstance(old, dict):
        return text
    new = _rename_keys(kind, old)
    if kind == "SeriesState" and isinstance(new.get("suspect"), dict):
        new["suspect"] = _rename_keys("SuspectReading", new["suspect"])
    return json.dumps(new, ensure_ascii=False, separators=(",", ":"))


def _rename_keys(kind: str, old: dict[str, Any]) -> dict[str, Any]:
    names = _RENAMED.get(kind, {})
    return {names.get(key, key): value for key, value in old.items() if key not in _IN_COLUMNS.get(kind, ())}


def get_script(version: int) -> str:
    """The statements that bring a file of an earlier format up to date; 0 is an empty file."""
    return f"{_SET_OLD_TABLES_ASIDE} {SCHEMA} {_COPY_OLD_TABLES}" if version else SCHEMA
