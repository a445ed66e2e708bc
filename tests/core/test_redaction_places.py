import pytest

from watcher.core.rules.diagnostics import create_diagnostic
from watcher.core.rules.toml_positions import TextSpan

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
def test_comments_of_channels_are_hidden_whatever_stands_before_them(line, said):
    assert shown(line) == said
    assert shown(line, "[providers.claude]\n{line}\n") == said


def test_comments_elsewhere_are_hidden_but_for_those_of_rules():
    assert shown('every = "soon" # secret', "[poll]\n{line}\n") == 'every = "soon" # ******'
    assert shown("# secret", "{line}\n[channels.team]\n") == "# ******"
    assert shown('when = "x" # why', "[[rule]]\n{line}\n") == 'when = "x" # why'


def test_a_password_in_an_address_is_hidden_where_the_address_is_not():
    for line in ('base_url = "https://me:p@ss/w#rd@host:8080"', "base_url = 'https://p@ss/w#rd-and-me@host:8080'"):
        said = shown(line, "[providers.claude]\n{line}\n")
        assert said.replace("*", "") in ('base_url = "https://@host:8080"', "base_url = 'https://@host:8080'")
        assert len(said) == len(line)
    assert shown('base_url = "https://host:8080/@x"', "[providers.claude]\n{line}\n").endswith('@x"')
