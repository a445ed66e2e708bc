"""The rule language: from TOML text to `Rule` records, or to every mistake with its place.

Read in this order:

- `rule`: the records that the engine uses; `ast`: the expressions in them, which evaluate and print themselves.
- `lexer`, `selector`, `parser`: from the text of a condition to an expression. `units` and `fields` are its words.
- `hysteresis`: the default for `clear`. `template`, `time_intervals`: the texts of other keys.
- `loader`, `rule_reader`, `schema`: from the text of a file to rules. `toml_positions` and `diagnostics` report where
  a mistake is.
"""
