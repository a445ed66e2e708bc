-- The tables of format 4. `IF NOT EXISTS` marks those that did not change since format 3.
--
-- Instants are milliseconds since 1970 in UTC. Money and counts are decimal text, so that nothing is rounded. `state`,
-- `record`, `snapshot` and `failure` are JSON of the structs that they are named after, without what stands in columns
-- or other tables: above all the account, whose key may change.

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
    flags INTEGER NOT NULL,     -- 1 unlimited, 2 stale, 4 low confidence, 8 blocked, 16 not blocked
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

CREATE TABLE suppression (      -- why a change was not sent, not at once or not at all: 14 days
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

CREATE TABLE stopped_channel (  -- a permanent refusal: nothing is sent until its settings change
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
