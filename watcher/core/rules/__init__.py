"""The rule language: from TOML text to `Rule` records, or to every mistake with its place.

Read in this order:

- `vocabulary`: the words and units of conditions; `ast`: selectors and expressions, which print and evaluate.
- `parser`: from the text of a condition to an expression. `hysteresis`: the default for `clear`.
- `rule`: a rule as the engine uses it, and its keys in TOML. `template`, `time_intervals`: the texts of other keys.
- `loader`, `rule_reader`: from the text of a file to rules. `diagnostics`: where a mistake is, and what was meant.
"""
