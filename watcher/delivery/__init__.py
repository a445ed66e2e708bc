"""Sends the deliveries of the outbox: see `dispatcher`."""
