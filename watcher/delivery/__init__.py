"""Sends what is in the outbox.

`dispatcher` decides on the daemon's thread what is sent now and saves everything before and after; `attempts` is one
attempt at one delivery and what its outcome means.
"""
