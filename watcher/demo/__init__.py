"""A day of use in about a minute: the real program against providers that live inside it.

`day` says how much is used when, `answers` words that as the APIs do, `server` is the loopback HTTP server that says
it, `machine` lays out a home folder with logins and a configuration. Nothing in here may be needed outside of a
demonstration, a test or a benchmark; and nothing here may reach beyond the loopback address.
"""
