"""A day of use in about a minute: the real program against simulated providers.

`scenario` says how much is used when, `responses` turns that into the APIs' answers, `server` is the loopback HTTP
server that sends them. `simulation` has a fast clock and a home folder with logins and a configuration, and
`player` runs the daemon and yields what happens. Tests and benchmarks use these too. Nothing leaves the loopback.
"""
