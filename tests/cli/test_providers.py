"""`watcher providers`: every provider, the mistakes of a file, and the readings it makes of an answer."""

import json
import subprocess
import sys

import pytest

from watcher.demo.server import Server, json_reply

ACME = """
id = "acme"
name = "Acme"
sign_in = "set ACME_API_KEY"
token = ["env:ACME_API_KEY"]

[[request]]
url = "https://api.acme.example/v1/quota"
error_if = "error"
error_message = "error"

[[window]]
id = "daily"
length = "1d"
used = "requests.used"
limit = "requests.limit"
unit = "requests"
"""
ANSWER = {"requests": {"used": "30", "limit": 120}}

pytestmark = pytest.mark.usefixtures("own_providers")


@pytest.fixture
def home(empty_home):
    (empty_home.paths.config_dir / "providers").mkdir(parents=True)
    return empty_home


def write(home, text, name="acme.toml"):
    path = home.paths.config_dir / "providers" / name
    path.write_text(text)
    return str(path)


def save(home, content, name="answer.json"):
    path = home.folder / name
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return str(path)


def test_list_says_of_every_provider_whether_it_is_on_and_what_it_is_asked(home):
    write(home, ACME)
    write(home, "id = 5", "broken.toml")
    home.paths.config_file.write_text(
        '[providers.zai]\nenabled = false\n[providers.groq]\nbase_url = "http://127.0.0.1:9"\n'
    )
    done = home.watcher("providers", "list", ACME_API_KEY="k-1234567890", OPENROUTER_API_KEY="k-or-1234567890")
    rows = {line.split()[0]: " ".join(line.split()) for line in done.stdout.splitlines()}
    assert rows["acme"] == "acme on login: environment (env:ACME_API_KEY) 5 min https://api.acme.example/v1/quota"
    assert rows["openrouter"].startswith(
        "openrouter on login: environment (env:OPENROUTER_API_KEY) 5 min https://openr"
    )
    assert rows["claude"] == "claude off no login; run `claude` once 10 min https://api.anthropic.com/api/oauth/usage"
    assert rows["kimi"].startswith("kimi off no login in env:KIMI_CODE_API_KEY, opencode:kimi-for-coding 5 min")
    assert "off switched off in the config" in rows["zai"]
    assert rows["groq"].endswith("http://127.0.0.1:9/openai/v1/models")
    assert "broken.toml:1:6: `id` takes a text, not a whole number" in rows["broken"]
    assert len(rows) == 1 + 40 + 2
    assert "k-1234567890" not in done.stdout


def test_check_puts_a_caret_under_each_mistake(home):
    path = write(home, ACME.replace("requests.used", "requests.[").replace('"1d"', '"a day"'))
    for words in ((), (path,)):
        done = home.watcher("providers", "check", *words)
        assert done.returncode == 78
        assert f"{path}:15:19: `used`: the expression is not complete\n" in done.stderr
        assert '  14 | length = "a day"\n' in done.stderr
        assert done.stderr.count("^") == 1 + len('"a day"')
    write(home, ACME)
    assert home.watcher("providers", "check").stdout == "1 file of providers: no mistake\n"
    assert home.watcher("providers", "check", path).returncode == 0
    assert home.watcher("providers", "check", "none.toml").returncode == 64


@pytest.mark.parametrize("what", ["too large", "writable", "not text", "a folder"])
def test_a_file_that_is_not_to_be_read_is_one_line(home, what):
    path = home.paths.config_dir / "providers" / "acme.toml"
    if what == "a folder":
        path.mkdir()
    else:
        path.write_bytes(b"# " + b"x" * 10_000_000 if what == "too large" else b"\xff" if what == "not text" else b"")
        path.chmod(0o666 if what == "writable" else 0o600)
    done = home.watcher("providers", "check")
    assert (done.returncode, len(done.stderr.splitlines())) == (78, 1)
    status = home.watcher("check", OPENROUTER_API_KEY="k")
    assert status.returncode == 20
    assert str(path) in home.watcher("status").stdout.replace("\n", "")


def test_test_shows_each_window_with_where_its_values_are_from(home):
    done = home.watcher("providers", "test", write(home, ACME), "--body", save(home, ANSWER))
    assert done.stdout.splitlines() == [
        "daily  (daily, requests)  from main body",
        "  used_percent  25 %          <- derived",
        '  used          30 requests   <- used: requests.used = "30"',
        "  limit         120 requests  <- limit: requests.limit = 120",
        "  remaining     90 requests   <- derived",
    ]
    assert done.returncode == 0
    assert home.watcher("providers", "test", "acme", "--body", save(home, {"main": ANSWER})).stdout == done.stdout


def test_test_prints_a_document_with_the_readings_or_the_error(home):
    write(home, ACME)
    done = home.watcher("providers", "test", "acme", "--json", "--body", save(home, ANSWER))
    document = json.loads(done.stdout)
    (window,) = document.pop("windows")
    assert document == {"schema": "watcher.readings.v1", "provider": "acme", "error": None}
    names = ("window", "kind", "used_percent", "used", "limit", "remaining", "unit")
    assert [window[name] for name in names] == ["daily", "daily", 25, 30, 120, 90, "requests"]
    for body, error in (
        ({"error": "no plan"}, {"kind": "server", "message": "Acme: no plan: it is asked again later"}),
        ({}, {"kind": "shape", "message": "Acme: no window in the answer (daily): nothing is claimed"}),
    ):
        done = home.watcher("providers", "test", "acme", "--json", "--body", save(home, body))
        expected = {"schema": "watcher.readings.v1", "provider": "acme", "windows": [], "error": error}
        assert (done.returncode, json.loads(done.stdout)) == (1, expected)


def test_a_saved_answer_may_have_headers_and_one_for_each_request(home):
    headers = {"X-RateLimit-Limit": "1, 2000", "X-RateLimit-Remaining": "1, 500"}
    done = home.watcher(
        "providers", "test", "brave", "--json", "--body", save(home, {"main": {"headers": headers, "body": {}}})
    )
    assert json.loads(done.stdout)["windows"][0]["used"] == 1500
    key = {"key": {"data": {"usage": 5, "limit": None, "limit_remaining": None, "limit_reset": None}}}
    done = home.watcher("providers", "test", "openrouter", "--body", save(home, key))
    assert "used       $5.00" in done.stdout
    assert "note: no credits (shape)" in done.stdout
    done = home.watcher("providers", "test", "openrouter", "--body", save(home, {"headers": ["a list"]}))
    assert done.returncode == 1  # it is the body


def test_without_a_saved_answer_the_server_is_asked(home):
    with Server(lambda _asked: json_reply(ANSWER)) as server:
        write(home, ACME.replace("https://api.acme.example", server.url))
        done = home.watcher("providers", "test", "acme", ACME_API_KEY="k-1")
        assert "used          30 requests" in done.stdout
        assert [each.headers["authorization"] for each in server.requests] == ["Bearer k-1"]
    done = home.watcher("providers", "test", "acme")
    assert (done.returncode, done.stderr) == (1, "Acme: no login found; set ACME_API_KEY\n")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("acmee",), "no provider and no file is called `acmee`; did you mean `acme`?"),
        (("none.toml",), "cannot read none.toml: there is no such file"),
        (("claude", "--body", "x.json"), "--body: claude is built in"),
        pytest.param(
            ("acme", "--body", "none.json"), "--body: cannot read none.json: No such file", marks=pytest.mark.posix
        ),
        pytest.param(
            ("acme", "--body", "/dev/null"),
            "--body: /dev/null is not JSON",
            marks=pytest.mark.posix,
        ),
    ],
)
def test_what_cannot_be_tested_is_misuse(home, words, message):
    write(home, ACME)
    done = home.watcher("providers", "test", *words)
    assert (done.returncode, done.stderr[: len(message)]) == (64, message)


def test_a_provider_by_file_is_treated_like_any_other(home):
    rule = '[[rule]]\nname = "acme"\nwhen = "acme.daily > 20%"\n'
    channel = '[channels.log]\ntype = "command"\nargv = ["/bin/cat"]\n'
    with Server(lambda _asked: json_reply(ANSWER)) as server:
        write(home, ACME.replace("https://api.acme.example", server.url))
        home.paths.config_file.write_text(channel + rule)
        env = {"ACME_API_KEY": "k-1234567890"}
        assert home.watcher("check", **env).returncode == 10
        assert "Acme" in home.watcher("status").stdout
        assert home.watcher("guard", "acme.daily.remaining < 100").returncode == 0
        (drawn,) = json.loads(home.watcher("history", "acme.daily", "--json").stdout)["series"]
        assert [(each["rule"], each["event"]) for each in drawn["alerts"]] == [("acme", "firing")]
        assert home.watcher("report", "-o", str(home.folder / "report.html")).returncode == 0
        assert "Acme" in (home.folder / "report.html").read_text("utf-8")
        facts = home.watcher("doctor", "--provider", "acme", **env).stdout
        assert f"asked at      {server.url}/v1/quota" in facts
        completed = home.watcher(_WATCHER_COMPLETE="bash_complete", COMP_WORDS="watcher history acm", COMP_CWORD="2")
        assert "acme" in completed.stdout
    home.paths.config_dir.joinpath("providers/acme.toml").unlink()
    home.paths.config_file.write_text(channel)
    assert "no login found any more" in home.watcher("check", **env).stdout.replace("\n  ", " ")
    assert home.watcher("doctor").returncode in (0, 1)


def test_without_a_file_or_a_token_no_jmespath_is_imported(home):
    program = (
        "import sys; from watcher.cli import dispatch; dispatch(['check']);"
        "print([name for name in sys.modules if 'jmespath' in name or name.startswith('watcher.providers.de')])"
    )
    done = subprocess.run([sys.executable, "-c", program], env=home.env, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1] == "[]"
