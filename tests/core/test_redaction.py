"""Secrets are removed from text, and from the TOML lines that diagnostics show."""

import pytest

from watcher.core.redaction import Redactor, mask_secret
from watcher.core.rules.diagnostics import TextSpan, create_diagnostic
from watcher.core.rules.loader import parse_toml_document


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("token sk-ant-oat01-abcdefgh12 expired", "token *** expired"),
        ("gho_abcdefgh1234", "***"),
        ("github_pat_11ABCDEFG_xyz", "***"),
        ("Authorization: Bearer abcdefgh.ijkl==", "Authorization: Bearer ***"),
        ("https://hooks.slack.com/services/T0/B0/xyz", "https://hooks.slack.com/services/***"),
        ("https://discord.com/api/webhooks/1/ab-cd", "https://discord.com/api/webhooks/***"),
        ("cannot reach https://me:hunter2@host:8080/a@b", "cannot reach https://***@host:8080/a@b"),
        ("https://host/?mail=me@example.com", "https://host/?mail=me@example.com"),
        ("Authorization: Basic bWU6aHVudGVyMg==", "Authorization: Basic ***"),
        ("ya29.a0AfB_byC-12345", "***"),
        ("1//0abcdefghij-klm", "***"),
        ("eyJhbGciOiJub25lIn0.eyJzdWIiOiIx.c2ln", "***"),
        ("GOCSPX-abcdefghij", "***"),
        ("5-hour window at 82 %, sk-antics", "5-hour window at 82 %, sk-antics"),
    ],
)
def test_a_secret_is_recognized_by_its_shape(text, clean):
    assert Redactor()(text) == clean


def test_a_known_secret_is_removed_by_its_value():
    redactor = Redactor()
    redactor.add_secrets(["hunter2hunter2"])
    assert redactor("wrong: hunter2hunter2!") == "wrong: ***!"


def test_earlier_secrets_stay_known():
    redactor = Redactor()
    redactor.add_secrets(["first-secret"])
    redactor.add_secrets(["second-secret"])
    assert redactor("first-secret second-secret") == "*** ***"


def test_a_secret_inside_another_leaves_no_rest():
    redactor = Redactor()
    redactor.add_secrets(["abcdef", "abcdefghij"])
    assert redactor("abcdefghij") == "***"


def test_values_too_short_for_a_secret_are_ignored():
    redactor = Redactor()
    redactor.add_secrets(["", "team"])
    assert redactor("the team is told") == "the team is told"


def test_a_masked_secret_can_be_recognized_but_not_used():
    assert mask_secret("sk-ant-oat01-abcdefgh12") == "sk-ant...gh12"
    assert mask_secret("0123456789") == mask_secret("sk-0123456789-abcde") == "***"


# --- lines of TOML ---

TEXT = """\
[channels.team]
{line}
[[rule]]
name = "claude"
when = "claude.five_hour>80%"
"""


def show_source(line, text=TEXT):
    text = text.format(line=line)
    start = text.index(line)
    return create_diagnostic("config.toml", text, TextSpan(start, start + 3), "wrong").source


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('url = "https://x/secret"', 'url = "****************"'),
        ("url = 'secret'  # note", "url = '******'  # ****"),
        ('url = "sec\\"ret"', 'url = "********"'),
        ('url = "secret', 'url = "******'),
        ('headers = { A = "Bearer x", B = "y" }', 'headers = { A = "********", B = "*" }'),
        ('secret = "cmd:printf secret"', 'secret = "*****************"'),
        ('url = "env:SLACK_URL"', 'url = "env:SLACK_URL"'),
        ('url = "file:~/url"', 'url = "file:~/url"'),
        ('type = "slak"', 'type = "slak"'),
        ("secret", "******"),
        ("url = https://x/secret?a=b", "url = ******************=*"),
        ("url = c2VjcmV0==", "url = ********=="),
        ('    "--token=secret",', '    "**************",'),
        ('    "secret", "more"', '    "******", "****"'),
        ('argv = ["/bin/x", "-v"]', 'argv = ["/bin/x", "-v"]'),
        ("argv = /bin/x", "argv = /bin/x"),
        (
            'argv = ["/bin/x", "--token=abc", "Authorization: Bearer abc"]',
            'argv = ["/bin/x", "--token=***", "Authorization: **********"]',
        ),
        ('url = "env:not a name"', 'url = "**************"'),
        ("secret = abc= def", "secret = ***= ***"),
        ("headers = { A = Bearer secret }", "headers = { A = ****** ****** }"),
        ("retry = true", "retry = true"),
        ("topic = 1234567", "topic = *******"),
    ],
)
def test_possible_secrets_become_stars_and_columns_stay(line, said):
    assert show_source(line) == said
    assert len(said) == len(line)


def test_lines_inside_strings_and_arrays_are_masked():
    string = '[channels.team]\nurl = """\n{line}\n"""\n'
    assert show_source("https://x?token=secret", string) == "*" * 22
    assert show_source("c2VjcmV0 = x", string) == "******** * *"
    array = '[channels.team]\nargv = [\n  "a",\n{line}\n]\n'
    assert show_source('  "-v", "--secret=1",', array) == '  "**", "**********",'
    assert show_source('  "secret",', array.replace("argv", "agrv")) == '  "******",'
    assert show_source("secret: S3cret", array) == "******* ******"
    assert show_source("secret: S3cret", '[channels.team]\nargv = ["a"]\n{line}\n') == "******* ******"
    assert show_source('  "S3cret"', '[channels.team]\ntype = "webhook"\n{line}\n') == '  "******"'
    assert show_source("Token = type", "[channels.team.headers]\n{line}\n") == "Token = ****"


@pytest.mark.parametrize(
    ("table", "line", "said"),
    [
        ("[metrics]", "salt = S3cret", "salt = ******"),
        ("[metrics]", "tokne = S3cret", "tokne = ******"),
        ("[metrics.push]", 'headesr = { X-Scope = "S3cret" }', 'headesr = { X-Scope = "******" }'),
        ("[metrics]", 'listen = "127.0.0.1"', 'listen = "127.0.0.1"'),
        ("", 'tokne = ["S3cret"]', 'tokne = ["******"]'),
        ("[[request]]", 'headers = { X-Key = "S3cret" }', 'headers = { X-Key = "******" }'),
        ("[[request]]", 'url = "https://acme.example/usage"', 'url = "https://acme.example/usage"'),
        ('token = """', "S3cret", "******"),
    ],
)
def test_secrets_of_metrics_and_of_provider_files_are_masked(table, line, said):
    assert show_source(line, table + "\n{line}\n") == said


@pytest.mark.parametrize("table", ["", "[chanels.team]\n", "[alertmanager]\n"])
@pytest.mark.parametrize("key", ["secret", "token", "url", "topic", "api_key", "bot-token"])
def test_a_secret_is_masked_by_its_key_in_any_table(table, key):
    assert show_source(f"{key} = S3cret", table + "{line}\n") == f"{key} = ******"


@pytest.mark.parametrize("table", ["", "[[rule]]\n", "[poll]\n", "[channels.team]\n"])
@pytest.mark.parametrize(
    "line",
    ["token: S3cret", "secret  S3cret", 'type = "webhook"url = "S3cret"', 'Token = "S3cret"', "[x] url = S3cret"],
)
def test_a_secret_in_the_wrong_place_is_masked(table, line):
    said = show_source(line, table + "{line}\n")
    assert "S3cret" not in said
    assert len(said) == len(line)


@pytest.mark.parametrize(
    "line",
    ['when = "nano_gpt.weekly_input_tokens > 80%"', "when = nano_gpt.weekly_input_tokens > 80%", 'title = "the url"'],
)
def test_a_rule_that_speaks_of_tokens_is_readable(line):
    assert show_source(line, "[[rule]]\n{line}\n") == line


def test_no_hint_quotes_a_secret_and_every_other_hint_quotes_the_value():
    for key, value, hint in (
        ("secret", "S3cret", 'secret = "..."'),
        ("url", "https://hooks.slack.com/services/T/B/X", 'url = "..."'),
        ("tokn", "ghp_x", 'tokn = "..."'),
        ("argv", "/bin/notify", 'argv = "/bin/notify"'),
    ):
        diagnostic = parse_toml_document(f"[channels.team]\n{key} = {value}\n", "config.toml")
        assert hint in diagnostic.message
        assert (value in str(diagnostic)) is (key == "argv")


def test_a_secret_with_many_dots_is_masked():
    text = f"[channels.team]\nurl = {'.'.join('abcdefghijklmnopqrs')}\n"
    assert "a.b" not in str(parse_toml_document(text, "config.toml"))


def test_inline_and_dotted_tables_are_masked_too():
    assert show_source('channels.team.url = "secret"', "{line}\n") == 'channels.team.url = "******"'
    assert show_source(
        'channels = {{ team = {{ url = "secret" }} }}'.replace("{{", "{").replace("}}", "}"), "{line}\n"
    ) == ('channels = { team = { url = "******" } }')
    assert show_source('token = "secret"', "[ providers.claude ]\n{line}\n") == 'token = "******"'


def test_rules_are_not_masked():
    start = TEXT.index("when")
    assert (
        create_diagnostic("config.toml", TEXT, TextSpan(start, start + 3), "wrong").source
        == 'when = "claude.five_hour>80%"'
    )


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('type = "slak"  # was secret', 'type = "slak"  # *** ******'),
        ('type = "sl#ak" # secret', 'type = "sl#ak" # ******'),
        ('type = "slak # secret', 'type = "slak # ******'),
        ("    # secret", "    * ******"),
        ("[channels.team] # secret", "[channels.team] # ******"),
        ("retry = 5 #secret", "retry = 5 #******"),
    ],
)
def test_comments_of_channels_are_masked(line, said):
    assert show_source(line) == said
    assert show_source(line, "[providers.claude]\n{line}\n") == said


def test_all_comments_but_those_of_rules_are_masked():
    assert show_source('every = "soon" # secret', "[poll]\n{line}\n") == 'every = "soon" # ******'
    assert show_source("# secret", "{line}\n[channels.team]\n") == "* ******"
    assert show_source('when = "x" # why', "[[rule]]\n{line}\n") == 'when = "x" # why'


def test_a_password_in_a_url_is_masked_and_the_url_is_not():
    for line in ('base_url = "https://me:p@ss/w#rd@host:8080"', "base_url = 'https://p@ss/w#rd-and-me@host:8080'"):
        said = show_source(line, "[providers.claude]\n{line}\n")
        assert said.replace("*", "") in ('base_url = "https://@host:8080"', "base_url = 'https://@host:8080'")
        assert len(said) == len(line)
    assert show_source('base_url = "https://host:8080/@x"', "[providers.claude]\n{line}\n").endswith('@x"')
