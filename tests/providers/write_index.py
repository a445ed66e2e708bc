"""Writes the index of the catalogue from its files: `python tests/providers/write_index.py`."""

import msgspec

from watcher.core.rules.diagnostics import format_diagnostics
from watcher.providers.definition import read_definition, summarize
from watcher.providers.registry import CATALOGUE_DIR, INDEX_FILE

found = []
for path in sorted(CATALOGUE_DIR.glob("*.toml")):
    definition, mistakes = read_definition(path.read_text("utf-8"), str(path))
    if definition is None:
        raise SystemExit(format_diagnostics(mistakes))
    found.append(summarize(definition))
INDEX_FILE.write_bytes(msgspec.json.format(msgspec.json.encode(found), indent=1) + b"\n")
