"""Past one machine: numbers and rules for a team's own Prometheus. Off until configured.

`metrics` turns what the store knows into samples and texts, `exporter` takes them out: a scrape, a text file, a push.
`alertmanager` shows Alertmanagers what fires.
`compiler` turns rules into Prometheus alerting rules, and `parity` compares both. Nothing here is imported until
`[metrics]` or a command asks for it.
"""
