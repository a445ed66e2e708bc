-- Formats 1 to 3 to format 4, first part: sets the old tables aside. Then `schema.sql` creates the new ones.

-- Format 1 has no table `silence`, and formats 1 and 2 have no `outage`.
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
