"""Every command line and every block in the README and in docs/ is valid for the program."""

import ast
import configparser
import json
import re
import shlex
import shutil
import subprocess
from pathlib import Path

import click
import pytest

from watcher import cli
from watcher.cli import app
from watcher.cli.app import watcher
from watcher.config import loader
from watcher.core.rules import parser as expression
from watcher.core.rules.loader import parse_rules
from watcher.errors import ProviderError
from watcher.providers.definition import read_definition
from watcher.system.paths import Paths

ROOT = Path(__file__).parents[2]
PAGES = sorted([ROOT / "README.md", *(ROOT / "docs").glob("*.md")])
FENCED = re.compile(r"^```(\w+)\n(.*?)^```", re.MULTILINE | re.DOTALL)
SHOWN = re.compile(r"`(watcher [^`]+)`")
UNLISTED = {"help", "completion"}
SHELL = ("console", "sh", "bash", "shell")
TESTED_LANGUAGES = {*SHELL, "toml", "json", "ini", "tmux", "crontab", "yaml", "python", "text", "css"}


def blocks(*languages):
    return [
        pytest.param(text, id=f"{page.name}:{page.read_text('utf-8')[: match.start()].count(chr(10)) + 1}")
        for page in PAGES
        for match in FENCED.finditer(page.read_text("utf-8"))
        if match[1] in languages
        for text in [match[2]]
    ]


def shell_lines(language, block):
    """The shell commands in a block of any language."""
    if language in SHELL:
        yield from block.replace("\\\n", " ").splitlines()
    elif language == "json":
        yield from strings(json.loads(block))
    elif language == "ini":
        yield from (re.sub("^[^=]*=", "", line).replace("%h", "~") for line in block.splitlines())
    elif language == "tmux":
        yield from re.findall(r"#\((.*?)\)", block)
    elif language == "crontab":
        yield from (line.split(maxsplit=5)[5] for line in block.splitlines())
    elif language == "yaml":
        yield from re.findall(r"run: (.*)", block)


def strings(value):
    """Every string in a JSON document."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for each in value.values() if isinstance(value, dict) else value:
            yield from strings(each)


def command_lines():
    found = set()
    for page in PAGES:
        text = page.read_text("utf-8")
        for language, block in FENCED.findall(text):
            lines = (line.strip().removeprefix("$ ") for line in shell_lines(language, block))
            found |= {line for line in lines if re.search(r"(^|[\s/(])watcher\s", f"{line} ")}
        found |= set(SHOWN.findall(FENCED.sub("", text)))
    return sorted(found)


def calls(line):
    """The arguments of each call of `watcher` in a line of shell."""
    reader = shlex.shlex(line, posix=True, punctuation_chars=True)
    reader.whitespace_split = True
    words = list(reader)
    while words:
        if Path(words[0]).name == "watcher":
            end = next((i for i, word in enumerate(words) if re.fullmatch(r"[();<>|&]+", word)), len(words))
            yield words[1:end]
            words = words[end:]
        else:
            words = words[1:]


@pytest.mark.parametrize("line", command_lines())
def test_a_command_line_is_valid(line):
    for words in calls(line):
        parse(watcher, words)
        if words[:1] == ["guard"] and words[1:] not in ([], ["EXPRESSION"]):
            expression.parse_condition(next(word for word in words[1:] if not word.startswith("-")), level=None)


def parse(command, words):
    """Parse the arguments without running the command."""
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
def test_a_toml_block_is_valid(text, tmp_path):
    if "[[rule]]" in text and "[channels." not in text:
        notify = set(re.findall(r'"([\w-]+)"', " ".join(re.findall(r"notify\s*=\s*(\[.*?\])", text))))
        assert parse_rules(text, "block.toml", channels=notify, is_config=True)
        return
    if "[[window]]" in text:
        assert not read_definition(text, "block.toml")[1]
        return
    paths = Paths(config_dir=tmp_path, state_dir=tmp_path)
    paths.config_file.write_text(text, "utf-8")
    paths.config_file.chmod(0o600)

    def resolve(text):
        return "https://discord.com/api/webhooks/1/fake" if text.startswith(("env:", "file:", "cmd:")) else text

    assert loader.load_config(paths, resolve, tmp_path)


@pytest.mark.parametrize("text", blocks("json"))
def test_a_json_block_is_json(text):
    assert json.loads(text)


@pytest.mark.parametrize("text", blocks("ini"))
def test_an_ini_block_is_ini(text):
    parser = configparser.RawConfigParser()
    parser.read_string(text)
    assert parser.sections()


@pytest.mark.skipif(shutil.which("sh") is None, reason="no POSIX shell here")
@pytest.mark.parametrize("text", blocks(*SHELL))
def test_a_block_of_shell_is_shell(text):
    lines = "\n".join(line.removeprefix("$ ") for line in text.splitlines())
    done = subprocess.run(["sh", "-n"], input=lines, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def script(page, containing, folder, **programs):
    """Runs the one block of a page that contains a text, with stand-ins for the programs that it calls."""
    blocks_ = [block for _, block in FENCED.findall((ROOT / "docs" / page).read_text("utf-8")) if containing in block]
    assert len(blocks_) == 1
    for name, body in programs.items():
        (folder / name).write_text(f"#!/bin/sh\n{body}\n", "utf-8")
        (folder / name).chmod(0o755)
    env = {"PATH": f"{folder}:/usr/bin:/bin"}
    return subprocess.run(["sh", "-c", blocks_[0]], input="{}", env=env, capture_output=True, text=True, check=False)


@pytest.mark.skipif(shutil.which("sh") is None, reason="no POSIX shell here")
@pytest.mark.parametrize(("answer", "code"), [(0, 0), (1, 2), (69, 0), (64, 0)])
def test_the_hook_stops_an_agent_only_where_the_guard_is_false(tmp_path, answer, code):
    done = script("bars-and-scripts.md", "# room-left", tmp_path, watcher=f"exit {answer}")
    assert (done.returncode, "stop" in done.stderr) == (code, code == 2)


@pytest.mark.skipif(shutil.which("sh") is None, reason="no POSIX shell here")
def test_the_status_line_script_feeds_both_programs(tmp_path):
    save_input = f"cat > {tmp_path}/input; echo not shown"
    done = script("migrating.md", "ccusage statusline", tmp_path, watcher=save_input, ccusage="cat; echo ' shown'")
    assert (done.stdout, (tmp_path / "input").read_text("utf-8")) == ("{} shown\n", "{}")


def test_the_example_readings_can_be_replayed(tmp_path):
    text = (ROOT / "docs" / "migrating.md").read_text("utf-8")
    (tmp_path / "readings.jsonl").write_text(re.search(r"```json\n(.*?)```", text, re.DOTALL)[1], "utf-8")
    (tmp_path / "rules.toml").write_text('[[rule]]\nname = "x"\nwhen = "claude.five_hour > 80%"\n', "utf-8")
    assert app.run(["replay", str(tmp_path / "rules.toml"), str(tmp_path / "readings.jsonl")]) == 0


def test_every_kind_of_error_is_explained():
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    assert [each.kind for each in kinds(ProviderError) if f"| `{each.kind}` |" not in page] == []


def kinds(error):
    for each in error.__subclasses__():
        yield each
        yield from kinds(each)


def test_every_block_is_of_a_tested_language():
    assert {language for page in PAGES for language, _ in FENCED.findall(page.read_text("utf-8"))} <= TESTED_LANGUAGES


def test_every_command_has_a_row_in_the_readme():
    readme = (ROOT / "README.md").read_text("utf-8")
    assert [name for name in cli.COMMANDS if f"`watcher {name}" not in readme and name not in UNLISTED] == []


def test_every_benchmark_has_a_row_among_the_results():
    page = (ROOT / "docs" / "results.md").read_text("utf-8")
    programs = [path for path in (ROOT / "benchmarks").glob("[a-z]*.py") if "\ndef main()" in path.read_text("utf-8")]
    assert len(programs) > 4
    assert [path.stem for path in programs if f"| `{path.stem}` |" not in page] == []


def test_the_readme_is_short():
    assert len((ROOT / "README.md").read_text("utf-8").splitlines()) < 200


def test_every_local_link_has_a_target():
    broken = []
    for page in PAGES:
        for target in re.findall(r"\]\(([^)]+)\)", page.read_text("utf-8")):
            path, _, anchor = target.partition("#")
            linked = page.parent / path if path else page
            if "://" not in target and not (linked.exists() and (not anchor or anchor in anchors(linked))):
                broken.append(f"{page.name}: {target}")
    assert broken == []


def test_every_path_of_the_project_exists():
    pages = {page: page.read_text("utf-8") for page in [*PAGES, ROOT / "CONTRIBUTING.md"]}
    paths = {
        (page.name, path)
        for page, text in pages.items()
        for path in re.findall(r"`((?:watcher|tests|benchmarks|contrib|rules|docs)/[\w/.-]*)`", text)
    }
    examples = {"watcher/providers/acme.py", "watcher/notifiers/pager.py"}  # of docs/extending.md
    assert [
        (page, path)
        for page, path in sorted(paths)
        if not (ROOT / path).exists() and path not in examples and "/acme/" not in path
    ] == []


def anchors(page):
    """The fragments that a page's headings have on GitHub."""
    headings = re.findall(r"^#+ (.*)", FENCED.sub("", page.read_text("utf-8")), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading.lower()).replace(" ", "-") for heading in headings}


def literals():
    """Every piece of text in the program's code."""
    for path in (ROOT / "watcher").rglob("*.py"):
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield node.value


def test_every_message_that_troubleshooting_quotes_is_one_of_the_program():
    page = (ROOT / "docs" / "troubleshooting.md").read_text("utf-8")
    cells = re.findall(r"^\| (.*?) \|", page, re.MULTILINE)
    quotes = {piece for cell in cells for quote in re.findall(r'"(.+?)"', cell) for piece in quote.split(" ... ")}
    texts = list(literals())
    assert len(quotes) > 8
    assert [quote for quote in sorted(quotes) if not any(quote in text for text in texts)] == []
