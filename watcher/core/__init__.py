"""The pure core: no clock, input, output, randomness or logging.

Read in this order: `model` (the records), `rules` (the rule language), `engine` (from polls to transitions), `routing`
(from transitions to deliveries). `formatting` and `redaction` serve all of them.
"""
