"""Decides what is delivered: transitions and time in, changes of the outbox out. Pure.

Read `planner` first, which has the entry points; it works on `outbox_changes`, then `grouping`. `muting` says what
holds a message back and `retry` what an attempt's outcome means. `messages` and `message_text` write the words.
"""
