"""SQLite: everything that outlives the process, in one file.

Read `store` first; it lists what the store offers.

    store        the open database with its groups of tables, and how long records are kept
    accounts     the accounts by number, their keys, aliases and last polls
    readings     the results of polls and their history
    alerts       the engine's state, and transitions
    outbox       deliveries, stopped channels, suppressions, snoozes
    database     the file: transactions, a full disk, a damaged file, the upgrade of older formats (`schema.sql`)
    records      structs to columns and JSON, and back
"""
