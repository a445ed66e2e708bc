"""What the README and the documents show is what the program takes: every command line and every TOML block."""

import re
import shlex
from pathlib import Path

import click
import pytest

from watcher import cli, config, secrets
from watcher.cli.root import watcher
from watcher.core.rulebook import parse_rules
from watcher.paths import Paths

ROOT = Path(__file__).parents[1]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"`(watcher [^`]+)`")
UNLISTED = {"help", "completion"}
OPERATORS = {"&&", "||", "|", ";", ">", "2>&1", "&"}


def blocks(language):
    return [
        pytest.param(text, id=f"{page.name}:{page.read_text('utf-8')[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for match in FENCED.finditer(page.read_text("utf-8"))
        if match[1] == language
        for text in [match[2]]
    ]


def command_lines():
    found = set()
    for page in PAGES:
        text = page.read_text("utf-8")
        for language, block in FENCED.findall(text):
            if language in ("console", "sh", "bash", "shell"):
                found |= {line.removeprefix("$ ") for line in block.splitlines() if "watcher" in line}
        found |= set(SHOWN.findall(FENCED.sub("", text)))
    return sorted(found)


def calls(line):
    """Each call of the program in a line of shell: its words behind `watcher`."""
    words = shlex.split(line, comments=True)
    while words:
        if Path(words[0]).name == "watcher":
            end = next((i for i, word in enumerate(words) if word in OPERATORS), len(words))
            yield [word for word in words[1:end] if not word.startswith("#")]
            words = words[end:]
        else:
            words = words[1:]


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_is_one_that_the_program_takes(line):
    for words in calls(line):
        parse(watcher, words)


def parse(command, words):
    """Read the words as the program would, without doing anything."""
    words = list(words)
    while isinstance(command, click.Group) and words and not words[0].startswith("-"):
        name = words.pop(0)
        found = command.get_command(click.Context(command), name)
        assert found is not None, name
        command = found
    is_named_only = not words or any(re.fullmatch(r"\[?[A-Z]+(\.[a-z]+)?\]?", word) for word in words)
    if not is_named_only:
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(click.Context, "exit", lambda *_: None)  # --help and --version end the program
            command.make_context("watcher", words)


@pytest.mark.parametrize("text", blocks("toml"))
def test_a_toml_block_is_one_that_the_program_reads(text, tmp_path):
    if "[[rule]]" in text:
        notify = set(re.findall(r'"(\w+)"', " ".join(re.findall(r"notify\s*=\s*(\[.*?\])", text))))
        assert parse_rules(text, "block.toml", channels=notify, other_keys=None)
        return
    paths = Paths(config_dir=tmp_path, state_dir=tmp_path)
    paths.config_file.write_text(text, "utf-8")
    paths.config_file.chmod(0o600)

    def resolve(text):
        return text if secrets.is_literal(text) else "https://discord.com/api/webhooks/1/fake"

    assert config.load(paths, resolve, tmp_path)


def test_every_command_has_a_row_in_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in cli.COMMANDS if f"`watcher {name}" not in readme and name not in UNLISTED] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 200


def test_every_link_between_the_pages_leads_somewhere():
    targets = [(page, target) for page in PAGES for target in re.findall(r"\]\(([^)#]+)\)", page.read_text("utf-8"))]
    local = [(page, target) for page, target in targets if "://" not in target]
    assert [f"{page.name}: {target}" for page, target in local if not (page.parent / target).exists()] == []
