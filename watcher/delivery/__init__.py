"""Sends what is in the outbox.

`dispatcher` decides on the daemon's thread what is sent now, makes one attempt at a time for each channel in a thread,
and saves everything before and after.
"""
