"""Providers by file: what is made of an answer, and every mistake that a file can have."""

import json
from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import pytest

from watcher.core import expressions
from watcher.core.model import PollFailure, Response, WindowKind
from watcher.core.rules.diagnostics import Diagnostic
from watcher.core.rules.parser import ExpressionError as RuleError
from watcher.core.rules.parser import parse_selector
from watcher.core.rules.vocabulary import PROVIDER_WINDOWS
from watcher.credentials import Credential, HostInfo
from watcher.errors import ShapeChangedError
from watcher.polling import fetch
from watcher.providers import declared, registry
from watcher.providers.definition import read_definition

AT = datetime(2026, 11, 28, 12, 0, tzinfo=UTC)  # a Saturday
HEAD = 'id = "zeta"\nname = "Zeta"\nsign_in = "set ZETA"\ntoken = ["env:ZETA"]\n'
REQUEST = '[[request]]\nurl = "https://api.zeta.example/v1"\n'
WINDOW = '[[window]]\nid = "daily"\nused = "used"\n'


def make_provider(text):
    definition, mistakes = read_definition(text, "zeta.toml")
    assert not mistakes, mistakes[0]
    return registry.make_provider(definition, "zeta.toml")


def poll(text, *answers, extra=None):
    """One poll; an answer is a body, or a pair of headers and body, or a whole `Response`. Also what was asked."""
    left, asked = list(answers), []

    def send(request):
        asked.append(request)
        answer = left.pop(0)
        if isinstance(answer, Response):
            return answer
        headers, body = answer if isinstance(answer, tuple) else ({}, answer)
        return Response(status=200, headers=headers, body=json.dumps(body).encode(), received_at=AT)

    login = Credential(provider="zeta", source_name="x", path="x", token="k-1", extra=extra or {})
    outcome = fetch.poll_account(
        make_provider(text), login, now=lambda: AT, send=send, read_database=None, provider_state={}
    )  # fmt: skip
    return outcome, asked


def read(window, body, headers=None):
    """The only reading of one window."""
    outcome, _ = poll(HEAD + REQUEST + "[[window]]\n" + window, (headers or {}, body))
    (reading,) = outcome.readings
    return reading


def amounts(reading):
    return reading.used_percent, reading.used, reading.limit, reading.remaining


@pytest.mark.parametrize(
    ("window", "body", "expected"),
    [
        ('used = "u"\nlimit = "l"', {"u": 30, "l": "120"}, (25.0, 30, 120, 90)),
        ('remaining = "r"\nlimit = "l"', {"r": -12, "l": 100}, (112.0, 112, 100, -12)),
        ('used = "u"\nremaining = "r"', {"u": 1, "r": 3}, (25.0, 1, 4, 3)),
        ('used = "u"\nlimit = "l"', {"u": 5, "l": 0}, (None, 5, None, None)),
        ('used = "u"\nlimit = "l"', {"u": 5, "l": -1}, (None, 5, None, None)),
        ('used = "u"\nlimit = "l"\nremaining = "r"', {"u": 5, "l": None, "r": 7}, (None, 5, None, 7)),
        ('used = "u"\nlimit = "l"', {"u": None, "l": 100}, (None, None, 100, None)),
        ('used = "u"\nlimit = "l"', {"u": True, "l": 100}, (None, None, 100, None)),
        ('used = "u"\nlimit = "l"', {"u": "many", "l": 100}, (None, None, 100, None)),
        ('used = "u"\nlimit = "l"\nscale = ".01"', {"u": 1225, "l": 2000}, (61.25, 12.25, 20, 7.75)),
        ('remaining = { path = "t.val", scale = "-0.01" }', {"t": {"val": "-2550"}}, (None, None, None, 25.5)),
        ('used_percent = "p"', {"p": "0.5"}, (0.5, None, None, None)),
        ('used_fraction = "p"', {"p": 0.5}, (50.0, None, None, None)),
        ('remaining_percent = "p"', {"p": 115}, (0.0, None, None, None)),
        ('remaining_fraction = "p"', {"p": 0.2}, (80.0, None, None, None)),
        ('used_percent = "p"\nlimit = "l"', {"p": 40, "l": 50}, (40.0, 20, 50, 30)),
        ('used_percent = "p"\nlimit = "l"', {"p": None, "l": 50}, (None, None, 50, None)),
    ],
)  # fmt: skip
def test_values_are_read_or_derived_and_unknown_is_never_zero(window, body, expected):
    assert amounts(read(f'id = "w"\n{window}', body)) == expected


@pytest.mark.parametrize(
    ("reset", "body", "expected"),
    [
        ('resets_at = "at"', {"at": "2026-12-01T00:00:00Z"}, datetime(2026, 12, 1, tzinfo=UTC)),
        ('resets_at = "at"', {"at": 1796083200}, datetime(2026, 12, 1, tzinfo=UTC)),
        ('resets_at = "at"', {"at": "1796083200000"}, datetime(2026, 12, 1, tzinfo=UTC)),
        ('resets_in = "s"', {"s": 90}, AT + timedelta(seconds=90)),
        ('resets_in = "s"', {"s": "2m59.5s"}, AT + timedelta(seconds=179.5)),
        ('resets_in = "s"', {"s": "120ms"}, AT + timedelta(milliseconds=120)),
        ('resets = "word"', {"word": "weekly"}, datetime(2026, 11, 30, tzinfo=UTC)),
        ('resets = "word"', {"word": "never"}, None),
        ('resets_every = "monthly"', {}, datetime(2026, 12, 1, tzinfo=UTC)),
        ('resets_every = "daily"\ntimezone = "America/Chicago"', {}, datetime(2026, 11, 29, 6, tzinfo=UTC)),
        ('resets_at = "at"\nresets_every = "daily"', {"at": None}, datetime(2026, 11, 29, tzinfo=UTC)),
        ('resets_at = "at"', {"at": "soon"}, None),
    ],
)  # fmt: skip
def test_a_reset_is_read_in_every_form(reset, body, expected):
    assert read(f'id = "w"\nused = "u"\n{reset}', {"u": 1, **body}).resets_at == expected


def test_a_boundary_of_a_zone_follows_its_clock_change():
    before = datetime(2026, 10, 24, 12, tzinfo=UTC)
    berlin = ZoneInfo("Europe/Berlin")
    assert declared.find_next_boundary("daily", before, berlin) == datetime(2026, 10, 24, 22, tzinfo=UTC)
    assert declared.find_next_boundary("weekly", before, berlin) == datetime(2026, 10, 25, 23, tzinfo=UTC)


def test_a_window_is_made_for_each_row_that_meets_the_condition_and_the_fullest_of_one_id_counts():
    window = (
        '[[window]]\neach = "rows"\nwhere = "kind==\'tokens\'"\nid_from = "name"\n'
        'rename = { five_hours = "five_hour" }\n'
        'used_percent = "p"\nunit_from = "unit"\n'
    )
    rows = [
        {"kind": "tokens", "name": "Five Hours", "p": 10}, {"kind": "tokens", "name": "five hours", "p": 70},
        {"kind": "tokens", "name": "Weekly!", "p": None, "unit": "Tokens"}, {"kind": "other", "name": "x", "p": 99},
        {"kind": "tokens", "p": 5}, "text",
    ]  # fmt: skip
    outcome, _ = poll(HEAD + REQUEST + window, {"rows": rows})
    found = [(each.window, each.used_percent, each.unit) for each in outcome.readings]
    assert found == [("five_hour", 70.0, "percent"), ("weekly", None, "tokens")]


def test_headers_and_parts_of_a_comma_list_are_a_source_and_their_body_may_be_anything():
    window = "from = 'headers'\nid = 'm'\nlimit = { path = '\"x-limit\"', index = -1 }\n"
    window += "remaining = { path = '\"x-left\"', index = 9 }\n"
    outcome, _ = poll(
        HEAD + REQUEST + "[[window]]\n" + window,
        Response(status=200, headers={"x-limit": "1, 2000", "x-left": "1, 5"}, body=b"<html>", received_at=AT),
    )
    assert amounts(outcome.readings[0]) == (None, None, 2000, None)


def test_an_unlimited_window_has_no_percent():
    reading = read('id = "w"\nused = "u"\nlimit = "l"\nunlimited_if = "free"', {"u": 5, "l": 10, "free": True})
    assert (reading.unlimited, amounts(reading)) == (True, (None, 5, None, None))
    assert not read('id = "w"\nused = "u"\nunlimited_if = "free"', {"u": 5, "free": False}).unlimited


@pytest.mark.parametrize(
    ("window", "kind", "seconds"),
    [
        ('used = "u"\nlength = "5h"', WindowKind.SESSION, 18000),
        ('used = "u"\nresets_every = "weekly"', WindowKind.WEEKLY, 604800),
        ('remaining = "u"', WindowKind.BALANCE, None),
        ('used = "u"\nkind = "balance"', WindowKind.BALANCE, None),
        ('used = "u"', WindowKind.OTHER, None),
    ],
)
def test_the_kind_follows_from_the_length_the_reset_or_the_values(window, kind, seconds):
    reading = read(f'id = "w"\n{window}', {"u": 1})
    assert (reading.kind, reading.window_seconds) == (kind, seconds)


@pytest.mark.parametrize(
    ("auth", "header"),
    [
        ("bearer", ("Authorization", "Bearer k-1")),
        ("Token", ("Authorization", "Token k-1")),
        ("x-api-key", ("x-api-key", "k-1")),
        ("Authorization", ("Authorization", "k-1")),
        ("none", None),
    ],
)
def test_the_token_is_sent_as_the_file_says(auth, header):
    _, (asked,) = poll(HEAD + REQUEST + f'auth = "{auth}"\nheaders = {{ X-A = "b" }}\n' + WINDOW, {"used": 1})
    sent = dict(asked.headers)
    assert (sent.pop("Accept"), sent.pop("X-A")) == ("application/json", "b")
    assert sent == (dict([header]) if header else {})


def test_an_address_takes_variables_and_times():
    request = (
        '[[request]]\nurl = "{env:BASE}/v1/{env:TEAM}?from={month_start}&to={now}"\nmethod = "POST"\njson = { a = 1 }\n'
    )
    extra = {"env:BASE": "https://own.example/v1/", "env:TEAM": "a/b?c"}
    _, (asked,) = poll(HEAD + request + WINDOW, {"used": 1}, extra=extra)
    assert asked.url == "https://own.example/v1/a%2Fb%3Fc?from=2026-11-01T00:00:00Z&to=2026-11-28T12:00:00Z"
    assert (asked.method, asked.json) == ("POST", {"a": 1})


@pytest.mark.parametrize(
    ("base", "kind", "message"),
    [
        ("", "not_signed_in", "Zeta: the environment variable BASE is not set: set it"),
        ("own.example", "not_signed_in", "Zeta: the address of main is no address: write https://HOST/PATH"),
        ("http://own.example", "blocked", "own.example: http:// would send the login unencrypted"),
        ("https://me:pw@own.example", "not_signed_in", "Zeta: the address of main holds a login"),
    ],
)
def test_a_variable_that_is_no_safe_address_is_one_line_and_sends_nothing(base, kind, message):
    outcome, asked = poll(HEAD + '[[request]]\nurl = "{env:BASE}/x"\n' + WINDOW, extra={"env:BASE": base})
    assert (outcome.kind, outcome.message.startswith(message), asked) == (kind, True, [])


def test_an_error_inside_a_success_is_an_error_with_its_text():
    request = REQUEST + 'error_if = "code != `0`"\nerror_message = "msg"\n'
    failure, _ = poll(HEAD + request + WINDOW, {"code": 7, "msg": "no\nplan", "used": 5})
    assert (failure.kind, failure.message) == ("server", "Zeta: no plan: it is asked again later")
    failure, _ = poll(HEAD + request + WINDOW, {"code": 7, "msg": "bad key k-1"})
    assert "bad key ***" in failure.message
    failure, _ = poll(HEAD + request + WINDOW, {"code": 7, "msg": {"a": 1}, "used": 5})
    assert failure.message == "Zeta: the answer says that it failed: it is asked again later"


def test_an_optional_request_costs_only_its_own_windows():
    text = HEAD + REQUEST + '[[request]]\nname = "more"\nurl = "https://api.zeta.example/2"\noptional = true\n' + WINDOW
    text += '[[window]]\nrequest = "more"\nid = "extra"\nused = "used"\n'
    broken = Response(status=500, body=b"", received_at=AT)
    outcome, _ = poll(text, {"used": 1}, broken)
    assert ([each.window for each in outcome.readings], outcome.note) == (["daily"], "no more (server)")
    assert isinstance(poll(text, broken)[0], PollFailure)


@pytest.mark.parametrize("body", [{}, [], None, "text", 5, {"used": None}, {"used": {"a": 1}}, {"usage": 5}])
def test_an_answer_of_another_shape_claims_nothing(body):
    failure, _ = poll(HEAD + REQUEST + WINDOW, body)
    assert (failure.kind, failure.message) == ("shape", "Zeta: no window in the answer (daily): nothing is claimed")


# --- expressions ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "expression",
    [
        " | ".join(["[@,@]"] * 60) + " | to_string(@)",
        " | ".join(["[@,@][]"] * 60),
        "[" + "|".join(["{a:@,b:@}"] * 50) + "]",
        "join('', [@,@])" + " | join('', [@,@])" * 40,
    ],
)
def test_an_expression_that_takes_for_ever_is_ended(expression):
    with pytest.raises(ShapeChangedError, match="takes too long on this answer"):
        expressions.Evaluator("Zeta").search(expression, "text")


def test_a_large_answer_is_no_expensive_one():
    rows = [{"id": number, "used": number} for number in range(20_000)]
    assert expressions.Evaluator("Zeta").search("rows[?id==`19999`].used", {"rows": rows}) == [19999]


@pytest.mark.parametrize("expression", ["sum(@)", "max_by(rows, &a)", "join('', @)", "a.b[0].c", "@ < `5`"])
def test_a_wrong_shape_gives_nothing(expression):
    assert expressions.Evaluator("Zeta").search(expression, {"a": [1]}) is None


# --- mistakes ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("text", "place", "message"),
    [
        (HEAD + REQUEST + WINDOW + 'limt = "x"\n', (10, 1, 4), "unknown key `limt`; did you mean `limit`?"),
        (HEAD + REQUEST + WINDOW + 'limit = "a.["\n', (10, 13, 1), "`limit`: the expression is not complete"),
        (HEAD + REQUEST + WINDOW + 'limit = { path = "a b" }\n', (10, 21, 1), "`limit`: not JMESPath: unexpected `b`"),
        (HEAD + REQUEST + WINDOW + 'unit = "dollar"\n', (10, 8, 8), "unknown unit `dollar`; valid: percent, requests"),
        (HEAD + REQUEST + WINDOW + 'limit = "foo(a)"\n', (10, 10, 3), "`limit`: JMESPath has no function `foo`"),
        (HEAD + REQUEST + WINDOW + "limit = 5\n", (10, 9, 1), "`limit` takes a text or a table, not a whole number"),
        (HEAD + REQUEST + WINDOW + 'scale = "x"\n', (10, 9, 3), "`scale` takes a factor as text"),
        (HEAD + REQUEST + WINDOW + 'timezone = "Berlin"\n', (10, 12, 8), "`timezone`: this is no time zone"),
        (HEAD + REQUEST + WINDOW + 'kind = "hourly"\n', (10, 8, 8), "`kind`: choose one of balance, daily, monthly"),
        (HEAD + REQUEST + WINDOW + 'request = "min"\n', (10, 11, 5), "no request is called `min`; "),
        (HEAD + REQUEST + '[[window]]\nid = "a"\n', (7, 1, 10), "a window without a value: write one of used, limit"),
        (HEAD + REQUEST + '[[window]]\nused = "a"\n', (7, 1, 10), "write `id`, or `id_from`"),
        (HEAD + REQUEST + '[[window]]\nid = "error"\nused = "a"\n', (8, 6, 7), "`error` is a word of the rule"),
        (HEAD + '[[request]]\nurl = "http://zeta.example"\n' + WINDOW, (6, 7, 21), "`url` http:// sends the login"),
        (HEAD + '[[request]]\nurl = "https://a.example/{x}"\n' + WINDOW, (6, 26, 3), "unknown `{x}`; valid: {env:"),
        (HEAD + '[[request]]\nurl = "api.zeta.example"\n' + WINDOW, (6, 7, 18), "`url` is no address"),
        (HEAD + "[[request]]\n" + WINDOW, (5, 1, 11), "`url` is missing"),
        (HEAD + REQUEST + REQUEST + WINDOW, (7, 1, 11), "two requests are called `main`: give each a `name`"),
        (HEAD + WINDOW, (1, 1, 1), "`request` is missing"),
        (HEAD.replace("zeta", "claude") + REQUEST + WINDOW, (1, 6, 8), "`claude` is built in; choose another id"),
        (HEAD.replace('"env:ZETA"', '"sk-123"') + REQUEST + WINDOW, (4, 10, 8), "`token` takes the place of a token"),
        (HEAD.replace('"env:ZETA"', "5") + REQUEST + WINDOW, (4, 10, 1), "`token` takes a text, not a whole number"),
        (HEAD.replace("env:ZETA", "file:~/a#b[") + REQUEST + WINDOW, (4, 22, 1), "`token`: the expression is not"),
        (HEAD.replace("env:ZETA", "vscdb:Cursor") + REQUEST + WINDOW, (4, 10, 14), "write vscdb:APP#KEY"),
        (HEAD + 'every = "5 min"\n' + REQUEST + WINDOW, (5, 9, 7), '`every`: "5 min" is not a duration'),
        (HEAD + 'primary = "weekly"\n' + REQUEST + WINDOW, (5, 11, 8), "no window is called `weekly`; valid: daily"),
        ("id = [", (1, 6, 1), ""),
    ],
)  # fmt: skip
def test_a_mistake_has_its_place_and_says_what_would_be_valid(text, place, message):
    definition, mistakes = read_definition(text, "zeta.toml")
    assert definition is None
    found = [each for each in mistakes if each.message.startswith(message)]
    assert found, [each.message for each in mistakes]
    assert (found[0].line, found[0].column, found[0].width) == place


def test_all_mistakes_are_reported_at_once():
    text = HEAD + REQUEST + 'methd = "GET"\n' + WINDOW + 'limit = "a["\nunit = 5\n'
    assert [each.line for each in read_definition(text, "x")[1]] == [7, 12, 11]


def test_a_value_that_is_refused_is_not_reported_as_missing_too():
    window = '[[window]]\nid = 5\nused = { pth = "a" }\n'
    _, mistakes = read_definition(HEAD + REQUEST + window, "a.toml")
    assert [each.message for each in mistakes] == [
        "`id` takes a text, not a whole number; put it in quotes", "unknown key `pth`; did you mean `path`?",
        "`path` is missing",
    ]  # fmt: skip


def test_a_plain_address_of_this_machine_or_one_that_is_allowed_is_no_mistake():
    for url, head in (("http://127.0.0.1:8080/x", HEAD), ("http://zeta.example", HEAD + "insecure = true\n")):
        assert read_definition(head + f'[[request]]\nurl = "{url}"\n' + WINDOW, "x")[1] == []


# --- the registry -----------------------------------------------------------------------------------------------------


@pytest.fixture
def load(own_providers):  # noqa: ARG001 - restores what was in force
    """Puts files in force."""
    return lambda *files: registry.load_files(files)


def find(id_, **env):
    around = HostInfo(home=None, env=env, platform="linux", run_command=None, read_database=None)
    return fetch.find_logins(registry.PROVIDERS[id_], around)


def test_a_file_is_a_provider_that_rules_may_name(load):
    with pytest.raises(RuleError):
        parse_selector("zeta.daily")
    assert load(("zeta.toml", HEAD + REQUEST + WINDOW)) == []
    assert str(parse_selector("zeta.daily")[0]) == "zeta.daily"
    with pytest.raises(RuleError, match="zeta has no window"):
        parse_selector("zeta.yearly")
    assert [each.token for each in find("zeta", ZETA="k").credentials] == ["k"]
    assert find("zeta") == fetch.FoundLogins()


def test_a_file_with_the_id_of_a_shipped_one_replaces_it_until_it_is_gone(load):
    load(("zai.toml", HEAD.replace('"zeta"', '"zai"') + REQUEST + WINDOW))
    assert (registry.PROVIDERS["zai"].name, PROVIDER_WINDOWS["zai"].known) == ("Zeta", ("daily",))
    load()
    assert (registry.PROVIDERS["zai"].name, PROVIDER_WINDOWS["zai"].known[0]) == ("Z.ai", "session")


def test_a_provider_whose_file_is_gone_has_no_login(load):
    load(("zeta.toml", HEAD + REQUEST + WINDOW))
    load()
    assert find("zeta", ZETA="k") == fetch.FoundLogins()


def test_a_broken_file_reports_itself_and_the_others_go_on(load):
    mistakes = load(
        ("a/zeta.toml", HEAD + REQUEST + WINDOW),
        ("a/twice.toml", HEAD + REQUEST + WINDOW),
        ("a/claude.toml", HEAD.replace("zeta", "claude") + REQUEST + WINDOW),
        ("a/no-toml.toml", "= 5"),
        ("a/huge.toml", Diagnostic(path="a/huge.toml", line=1, column=1, message="cannot be read: larger")),
    )
    assert [each.message[:20] for each in mistakes] == [
        "the id `zeta` is tak", "`claude` is built in", mistakes[2].message[:20], "cannot be read: larg",
    ]  # fmt: skip
    assert find("zeta", ZETA="k").credentials
    assert registry.PROVIDERS["claude"].name == "Claude"
    for id_, line in (
        ("twice", "a/twice.toml:1:1: the id `zeta` is taken by a/zeta.toml"),
        ("no_toml", "a/no-toml.toml:1:1"),
        ("huge", "a/huge.toml:1:1: cannot be read"),
        ("file_claude", "a/claude.toml:1:6: `claude`"),
    ):
        (failure,) = find(id_).failures
        assert failure.message.startswith(line)
        assert (failure.kind, failure.message.isprintable()) == ("not_signed_in", True)


def test_each_broken_file_reports_itself_whatever_its_name(load):
    paths = ("a/日本.toml", "a/中国.toml", "a/b-c.toml", "a/b_c.toml", "a/b.c.toml", "a/claude.toml")
    load(("a/good.toml", HEAD.replace("zeta", "file_claude") + REQUEST + WINDOW), *((path, "= 5") for path in paths))
    assert find("file_claude", ZETA="k").credentials
    told = [
        find(id_).failures[0].message.partition(":")[0]
        for id_, each in registry.PROVIDERS.items()
        if each.path in paths
    ]
    assert sorted(told) == sorted(paths)
