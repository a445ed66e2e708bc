"""Mistakes in files as the program reports them: file, line, column, carets, and the suggested word."""

import re
from typing import Any

from blackbox_world import Home

CHANNELS = '[channels.desktop]\ntype = "desktop"\n[channels.team]\ntype = "slack"\nurl = "env:TEAM_URL"\n'
_HEAD = re.compile(r"(?P<path>\S.*?\.toml):(?P<line>\d+):(?P<column>\d+): (?P<message>.+)")
_SOURCE = re.compile(r" *\d+ \| ?(?P<source>.*)")
_CARETS = re.compile(r" *\| (?P<before>\s*)(?P<carets>\^+)")
_MEANT = re.compile(r"did you mean [`\"](.+?)[`\"]\?")


def parse_diagnostics(text: str) -> list[dict[str, Any]]:
    """Every mistake in what was printed; of the sentence only what it proposes."""
    found: list[dict[str, Any]] = []
    for line in text.splitlines():
        if head := _HEAD.fullmatch(line):
            file = head["path"].replace("\\", "/").rpartition("/")[2]
            place = {"file": file, "line": int(head["line"]), "column": int(head["column"])}
            found.append({**place, "meant": _MEANT.findall(head["message"])})
        elif (source := _SOURCE.fullmatch(line)) and found:
            found[-1]["source"] = source["source"]
        elif (carets := _CARETS.fullmatch(line)) and found:
            found[-1]["carets"] = [len(carets["before"]) + 1, len(carets["carets"])]
    return found


def check_rule_file(home: Home, name: str, content: bytes) -> dict[str, Any]:
    """What `rules check` says of a file among the rules in force."""
    home.env["TEAM_URL"] = "http://127.0.0.1:9/team"
    home.config(CHANNELS)
    home.rules(name, content)
    ran = home.run("rules", "check")
    return {"code": ran.code, "mistakes": parse_diagnostics(ran.err + ran.out)}


def check_config_file(home: Home, content: bytes) -> dict[str, Any]:
    """What `check` says of a `config.toml`: it must be right before anything is asked."""
    home.config("").write_bytes(content)
    ran = home.run("check")
    return {"code": ran.code, "mistakes": parse_diagnostics(ran.err + ran.out)}
