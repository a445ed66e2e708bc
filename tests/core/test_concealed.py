import pytest

from watcher.core.diagnostics import diagnose
from watcher.core.places import Place

TEXT = """\
[channels.team]
{line}
[[rule]]
name = "claude"
when = "claude.five_hour>80%"
"""


def shown(line, text=TEXT):
    text = text.format(line=line)
    start = text.index(line)
    return diagnose("config.toml", text, Place(start, start + 3), "wrong").source


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ('url = "https://x/secret"', 'url = "****************"'),
        ("url = 'secret'  # note", "url = '******'  # note"),
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
        ('argv = ["/bin/x", "secret"]', 'argv = ["******", "******"]'),
        ("headers = { A = Bearer secret }", "headers = { A = ****** ****** }"),
        ("retry = true", "retry = true"),
        ("topic = 1234567", "topic = *******"),
    ],
)
def test_what_may_be_a_secret_becomes_stars_and_columns_stay(line, said):
    assert shown(line) == said
    assert len(said) == len(line)


def test_lines_of_a_string_or_an_array_of_several_lines_are_hidden():
    string = '[channels.team]\nurl = """\n{line}\n"""\n'
    assert shown("https://x?token=secret", string) == "*" * 22
    assert shown("c2VjcmV0 = x", string) == "******** * *"
    array = '[channels.team]\nargv = [\n  "a",\n{line}\n]\n'
    assert shown('  "secret=1",', array) == '  "********",'


def test_inline_and_dotted_tables_are_no_way_around():
    assert shown('channels.team.url = "secret"', "{line}\n") == 'channels.team.url = "******"'
    assert shown('channels = {{ team = {{ url = "secret" }} }}'.replace("{{", "{").replace("}}", "}"), "{line}\n") == (
        'channels = { team = { url = "******" } }'
    )
    assert shown('token = "secret"', "[ providers.claude ]\n{line}\n") == 'token = "******"'


def test_rules_are_shown_as_they_are():
    start = TEXT.index("when")
    assert diagnose("config.toml", TEXT, Place(start, start + 3), "wrong").source == 'when = "claude.five_hour>80%"'
