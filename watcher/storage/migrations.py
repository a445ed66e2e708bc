"""The database's tables, one migration a version. Never change a migration that has been released: add one.

`PRAGMA user_version` counts the migrations that a file has had. Opening an older file brings it up to date, each
migration in one transaction with its number, so that an interrupted one is repeated as a whole. A file of a newer
version is left alone.

Instants are integers, milliseconds since 1970 in UTC. Money and counts are decimal text, so that nothing is rounded.
`state`, `record`, `snapshot` and `failure` are JSON of the structs that they are named after, without what stands in
the row's own columns: the account above all, whose key may change.
"""

import json
import sqlite3  # noqa: TID251 - only this package uses it
from typing import Any

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
"""Keys of old JSON that have columns, or rows of another table, since version 4."""
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
"""Old JSON keys and their names since version 4."""


def prepare(connection: sqlite3.Connection) -> None:
    """Give the connection the function that migrations call."""
    connection.create_function("convert_record", 2, _convert_record, deterministic=True)


def _convert_record(kind: str, text: str | None) -> str | None:
    """A record of version 3 as version 4 keeps it; one that cannot be read stays as it is."""
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


MIGRATIONS: tuple[str, ...] = (
    """
    CREATE TABLE account (
        provider TEXT NOT NULL,
        account TEXT NOT NULL,
        snapshot TEXT,              -- the last good poll
        failure TEXT,               -- NULL while the last poll was good
        failing_since INTEGER,      -- when the failure began
        failures INTEGER NOT NULL,  -- polls in a row that failed
        asked_at INTEGER NOT NULL,  -- the last poll, good or bad
        PRIMARY KEY (provider, account)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE poll (             -- one row a provider: when it is asked next, and why
        provider TEXT PRIMARY KEY,
        next_at INTEGER NOT NULL,
        reason TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE series (
        id INTEGER PRIMARY KEY,
        provider TEXT NOT NULL,
        account TEXT NOT NULL,
        window TEXT NOT NULL,
        kind TEXT NOT NULL,
        label TEXT NOT NULL,
        unit TEXT NOT NULL,
        window_seconds INTEGER,
        state TEXT,                 -- what the engine knows of it
        UNIQUE (provider, account, window)
    ) STRICT;

    CREATE TABLE reading (          -- every believed or doubted answer, 14 days
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

    CREATE TABLE reading_hourly (   -- the last reading of each hour, a year
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

    CREATE TABLE alert (
        rule TEXT NOT NULL,
        provider TEXT NOT NULL,
        account TEXT NOT NULL,
        window TEXT NOT NULL,
        phase TEXT NOT NULL,
        severity TEXT,
        since INTEGER,
        state TEXT NOT NULL,
        PRIMARY KEY (rule, provider, account, window)
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE transition (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        rule TEXT NOT NULL,
        provider TEXT NOT NULL,
        account TEXT NOT NULL,
        window TEXT NOT NULL,
        event TEXT NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX transition_at ON transition (at);

    CREATE TABLE delivery (
        id INTEGER PRIMARY KEY,
        key TEXT NOT NULL,
        channel TEXT NOT NULL,
        state TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        record TEXT NOT NULL,
        UNIQUE (key, channel)
    ) STRICT;
    CREATE INDEX delivery_open ON delivery (id) WHERE state IN ('queued', 'held');

    CREATE TABLE cooldown (         -- by token hash: a new token starts afresh, a restart does not
        token_hash TEXT PRIMARY KEY,
        until INTEGER NOT NULL,
        strikes INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE snooze (
        target TEXT PRIMARY KEY,    -- a rule's name or a written series
        record TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE stop (             -- a channel that refused for good: silent until its settings change
        channel TEXT PRIMARY KEY,
        record TEXT NOT NULL
    ) STRICT, WITHOUT ROWID;

    CREATE TABLE fact (             -- the daemon's own: heartbeat, last problem with the config, ...
        name TEXT PRIMARY KEY,
        value TEXT NOT NULL,
        at INTEGER NOT NULL
    ) STRICT, WITHOUT ROWID;
    """,
    """
    CREATE TABLE silence (          -- why a change was not told, not at once or not at all: 14 days, 200 a rule
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        rule TEXT NOT NULL,
        record TEXT NOT NULL
    ) STRICT;
    CREATE INDEX silence_rule ON silence (rule, id);
    """,
    """
    CREATE TABLE outage (           -- polls in a row that failed alike, one row: 14 days
        provider TEXT NOT NULL,
        account TEXT NOT NULL,
        began_at INTEGER NOT NULL,
        ended_at INTEGER NOT NULL,  -- the last of these polls
        kind TEXT NOT NULL,
        message TEXT NOT NULL,
        retry_at INTEGER,
        gaps TEXT NOT NULL,         -- milliseconds from each of these polls to the next, parted by spaces
        PRIMARY KEY (provider, account, began_at)
    ) STRICT, WITHOUT ROWID;
    INSERT INTO outage              -- of the past only what fails now is known: when it began, and as it is now
        SELECT provider, account, coalesce(failing_since, asked_at), asked_at,
            coalesce(json_extract(failure, '$.kind'), ''), coalesce(json_extract(failure, '$.message'), ''), NULL,
            CASE WHEN failing_since < asked_at THEN cast(asked_at - failing_since AS TEXT) ELSE '' END
        FROM account WHERE json_valid(failure);
    """,
    """
    CREATE TABLE new_account (
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
    CREATE TABLE new_series (
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
    CREATE TABLE new_alert (
        rule TEXT NOT NULL,
        series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        state TEXT NOT NULL,
        PRIMARY KEY (rule, series)
    ) STRICT, WITHOUT ROWID;
    CREATE TABLE new_transition (
        id INTEGER PRIMARY KEY,
        at INTEGER NOT NULL,
        rule TEXT NOT NULL,
        series INTEGER NOT NULL REFERENCES series ON DELETE CASCADE,
        record TEXT NOT NULL
    ) STRICT;
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
    CREATE TABLE failed_poll (      -- 14 days
        account INTEGER NOT NULL REFERENCES account ON DELETE CASCADE,
        at INTEGER NOT NULL,
        kind TEXT NOT NULL,
        message TEXT NOT NULL,
        retry_at INTEGER,
        PRIMARY KEY (account, at)
    ) STRICT, WITHOUT ROWID;

    CREATE TEMP TABLE old_window AS  -- every series that anything hangs on
        SELECT provider, account, window FROM series
        UNION SELECT provider, account, window FROM alert
        UNION SELECT provider, account, window FROM transition
        UNION SELECT record ->> '$.series.provider', coalesce(record ->> '$.series.account', ''),
            record ->> '$.series.window' FROM silence WHERE json_valid(record)
        UNION SELECT value ->> '$.series.provider', coalesce(value ->> '$.series.account', ''),
            value ->> '$.series.window'
            FROM delivery, json_each(iif(json_valid(record), record, '{}'), '$.about');
    DELETE FROM old_window WHERE provider IS NULL OR window IS NULL;

    INSERT INTO new_account (provider, key, snapshot, failure, failing_since, failures, polled_at)
        SELECT provider, account, convert_record('Snapshot', snapshot), convert_record('PollFailure', failure),
            failing_since, failures, asked_at FROM account ORDER BY provider, account;
    INSERT OR IGNORE INTO new_account (provider, key) SELECT DISTINCT provider, account FROM old_window;
    INSERT INTO new_series SELECT series.id, new_account.id, window, kind, label, unit, window_seconds,
        convert_record('SeriesState', state)
        FROM series JOIN new_account ON new_account.provider = series.provider AND key = account;
    INSERT OR IGNORE INTO new_series (account, window) SELECT new_account.id, window
        FROM old_window JOIN new_account ON new_account.provider = old_window.provider AND key = account;

    CREATE TEMP TABLE numbered AS SELECT new_series.id, provider, key AS account, window,
        provider || iif(key = '', '', '[' || key || ']') || iif(window = '', '', '.' || window) AS written
        FROM new_series JOIN new_account ON new_account.id = new_series.account;
    CREATE INDEX temp.numbered_key ON numbered (provider, account, window);

    INSERT INTO new_alert SELECT rule, numbered.id, convert_record('AlertState', state)
        FROM alert JOIN numbered USING (provider, account, window);
    INSERT INTO new_transition SELECT transition.id, at, rule, numbered.id, convert_record('Transition', record)
        FROM transition JOIN numbered USING (provider, account, window);
    INSERT INTO suppression SELECT silence.id, at, rule, numbered.id, convert_record('Suppression', record)
        FROM silence JOIN numbered ON provider = iif(json_valid(record), record, '{}') ->> '$.series.provider'
        AND account = coalesce(record ->> '$.series.account', '') AND window = record ->> '$.series.window';
    INSERT INTO delivery_transition SELECT delivery.id, one.key, numbered.id, convert_record('Transition', one.value)
        FROM delivery, json_each(iif(json_valid(record), record, '{}'), '$.about') AS one
        JOIN numbered ON provider = one.value ->> '$.series.provider'
        AND account = coalesce(one.value ->> '$.series.account', '') AND window = one.value ->> '$.series.window';
    UPDATE delivery SET record = convert_record('Delivery', record);
    INSERT INTO failed_poll SELECT new_account.id, began_at, kind, message, retry_at
        FROM outage JOIN new_account ON new_account.provider = outage.provider AND key = account;
    INSERT OR IGNORE INTO failed_poll SELECT new_account.id, began_at + sum(gap.value) OVER
        (PARTITION BY outage.provider, account, began_at ORDER BY gap.key), kind, message, NULL
        FROM outage JOIN new_account ON new_account.provider = outage.provider AND new_account.key = account,
        json_each('[' || replace(gaps, ' ', ',') || ']') AS gap;
    UPDATE snooze SET record = json_set(record, '$.episodes', (
        SELECT json_group_object(CAST(numbered.id AS TEXT), one.value)
        FROM json_each(record, '$.episodes') AS one JOIN numbered ON written = one.key
        )) WHERE json_valid(record) AND json_type(record, '$.episodes') = 'object';
    UPDATE snooze SET record = convert_record('Snooze', record);
    UPDATE stop SET record = convert_record('StoppedChannel', record);

    CREATE TEMP TABLE login AS SELECT substr(name, 8) AS provider, value FROM fact
        WHERE name LIKE 'logins %' AND json_valid(value);
    UPDATE new_account SET (requested_with, requested_at) = (
        SELECT asked.value, CAST(round((julianday((
            SELECT moment.value FROM json_each(login.value, '$.asked_at') AS moment WHERE moment.key = asked.key
            )) - 2440587.5) * 86400000) AS INTEGER)
        FROM login, json_each(login.value, '$.asked_with') AS asked
        WHERE login.provider = new_account.provider AND asked.key = new_account.key);
    INSERT INTO account_alias SELECT new_account.id, 'place', login.value ->> '$.nameless' FROM login JOIN new_account
        ON new_account.provider = login.provider AND key = '' WHERE login.value ->> '$.nameless' <> '';
    INSERT OR IGNORE INTO account_alias SELECT new_account.id, 'token', owner.key
        FROM login, json_each(login.value, '$.owners') AS owner
        JOIN new_account ON new_account.provider = login.provider AND iif(owner.value = '', requested_with = owner.key,
            lower(owner.value) IN (lower(new_account.key),
            lower(iif(json_valid(snapshot), snapshot, '{}') ->> '$.account_name')));
    DELETE FROM fact WHERE name LIKE 'logins %';

    DROP TABLE temp.old_window; DROP TABLE temp.numbered; DROP TABLE temp.login;
    DROP TABLE account; DROP TABLE series; DROP TABLE alert; DROP TABLE transition;
    DROP TABLE silence; DROP TABLE outage;
    ALTER TABLE new_account RENAME TO account;
    ALTER TABLE new_series RENAME TO series;
    ALTER TABLE new_alert RENAME TO alert;
    ALTER TABLE new_transition RENAME TO transition;
    ALTER TABLE poll RENAME TO next_poll;
    ALTER TABLE stop RENAME TO stopped_channel;
    CREATE INDEX transition_at ON transition (at);
    CREATE INDEX suppression_rule ON suppression (rule, id);
    CREATE INDEX delivery_transition_series ON delivery_transition (series);
    """,
)
