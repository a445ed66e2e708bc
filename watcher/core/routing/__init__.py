"""Decides what is delivered: transitions and time in, changes of the outbox out. Pure.

Read `planner` first, which has the entry points and groups messages; it works on `outbox_changes`, which also says what
an attempt's outcome means. `muting` says what holds a message back. `messages` and `message_text` write the words.
"""
