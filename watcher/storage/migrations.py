"""The database's tables, one migration a version. Never change a migration that has been released: add one.

`PRAGMA user_version` counts the migrations that a file has been through. A process that may write brings an older file
up to date when it opens it, each migration in one transaction with its count: one that is interrupted is done again.
Readers say what to run instead; a file of a newer version is left alone by all. To add one: append a script, and have
`test_every_earlier_format_is_brought_up_to_date` keep a row of the old shape where its meaning changes.

Instants are integers, milliseconds since 1970 in UTC. Money and counts are decimal text, so that nothing is rounded.
Records that only this program reads (`state`, `record`, `snapshot`, `failure`) are JSON of the structs they are named
after.
"""

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
)
