"""Decides what is delivered: transitions and time in, changes of the outbox out. Pure.

Read `planner` first, which has the entry points and groups messages; it works on `outbox_changes`. `retry` says what an
attempt's outcome makes of a delivery, `muting` what holds a message back. `messages` and `message_text` have the words.
"""
