import csv
import json
import sys
from contextlib import closing
from datetime import UTC, datetime, timedelta
from xml.etree import ElementTree as ET

import pytest

from tests.cli import sample_history
from tests.world import has_mode
from watcher.cli import app, charts
from watcher.cli import history as command
from watcher.core.model import PollFailure
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock
from watcher.system.paths import Paths, resolve_paths

PNG = b"\x89PNG\r\n\x1a\n"


@pytest.fixture(scope="session")
def two_days(tmp_path_factory):
    folder = tmp_path_factory.mktemp("two_days")
    own = resolve_paths(
        {"WATCHER_CONFIG_DIR": str(folder / "config"), "WATCHER_STATE_DIR": str(folder / "state")}, folder
    )
    sample_history.live(own)
    return own


@pytest.fixture
def own(two_days, monkeypatch, tmp_path):
    use(two_days, monkeypatch, tmp_path)
    return two_days


def use(own: Paths, monkeypatch, home):
    monkeypatch.setenv("HOME", str(home))
    monkeypatch.setenv("WATCHER_CONFIG_DIR", str(own.config_dir))
    monkeypatch.setenv("WATCHER_STATE_DIR", str(own.state_dir))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setenv("COLUMNS", "100")
    monkeypatch.setattr(clock, "utc_now", lambda: sample_history.NOW)


@pytest.fixture
def history(own, capsys):  # noqa: ARG001 - the home that it runs in
    def run(*words):
        assert app.run(["history", *words]) == 0, capsys.readouterr().err
        return capsys.readouterr().out

    return run


def test_a_line_for_each_series(history):
    lines = history().splitlines()
    assert lines[0].split() == ["series", "usage", "now", "most", "resets", "spent", "alerts"]
    assert [line.split()[0] for line in lines[1:5]] == [
        "claude.five_hour",
        "claude.seven_day",
        "copilot.premium_interactions",
        "nano_gpt.balance_usd",
    ]
    assert all(len(line) <= 100 for line in lines)


def test_the_numbers_of_a_series_are_those_of_its_readings(history):
    row = history("claude.five_hour", "claude.seven_day").splitlines()[1]
    # ten sessions began, so nine ended: those at 93 % every third time, else at 39 %
    assert row.split()[-7:] == ["%", "93", "%", "9", "57", "%", "3"]


def test_one_series_is_shown_with_its_chart(history):
    text = history("claude.five_hour", "--since", "24h")
    assert text.endswith(history("claude.five_hour", "--since", "24h", "--plot"))
    assert charts.LEGEND not in history("claude", "--since", "24h")


def test_the_document_holds_readings_resets_alerts_and_thresholds(history):
    document = json.loads(history("claude.five_hour", "--json", "--since", "3d"))
    assert document["schema"] == "watcher.history.v1"
    (series,) = document["series"]
    assert (series["series"], series["provider"], series["window"], series["kind"]) == (
        *("claude.five_hour", "claude", "five_hour", "session"),
    )
    assert len(series["readings"]) == 97
    assert series["readings"][0] == {
        "at": "2026-03-02T09:00:00Z",
        "used_percent": 3.0,
        "used": None,
        "limit": None,
        "remaining": None,
        "resets_at": "2026-03-02T14:00:00Z",
        "unlimited": False,
        "blocked": None,
        "believed": True,
        "source": "api",
    }
    assert [each["spent_percent"] for each in series["resets"]][:4] == [93.0, 39.0, 39.0, 93.0]
    assert {(each["rule"], each["value"]) for each in series["thresholds"]} == {("session", 80.0), ("session", 95.0)}
    assert series["alerts"][0]["event"] == "firing"
    assert {each["rule"] for each in series["alerts"]} == {"session"}  # not those of other series
    assert series["alerts"][0]["used_percent"] == 83.0


def test_an_outage_differs_from_a_suspended_machine(history, monkeypatch, tmp_path):
    own = Paths(tmp_path / "config", tmp_path / "state")
    sample_history.live(own)
    use(own, monkeypatch, tmp_path)
    for before, kind in ((90, "timeout"), (25, "timeout"), (20, "timeout"), (15, "server")):
        at = sample_history.NOW - timedelta(minutes=before)
        with closing(Store(own.state_dir / DATABASE_FILE_NAME, now=at)) as store:
            failure = PollFailure(provider="nano_gpt", at=at, kind=kind, message="no answer")
            store.run_transaction(lambda store=store, failure=failure: store.readings.save_result(failure), now=at)
    (series,) = json.loads(history("nano_gpt", "--json"))["series"]
    assert [(each["from"][11:16], each["to"][11:16], each["kind"], each["polls"]) for each in series["outages"]] == [
        ("07:30", "07:30", "timeout", 1),
        ("08:35", "08:40", "timeout", 2),
        ("08:45", "08:45", "server", 1),
    ]


def test_money_and_counts_are_numbers_in_the_document(history):
    (series,) = json.loads(history("nano_gpt", "--json"))["series"]
    assert series["readings"][0]["remaining"] == 14.5
    assert series["thresholds"] == [{"rule": "balance", "severity": "warning", "value": 5.0}]


def test_csv_has_one_line_a_reading(history):
    rows = list(csv.DictReader(history("copilot", "nano_gpt", "--csv").splitlines()))
    assert len(rows) == 90 + 97
    assert rows[0] == {
        "at": "2026-03-02T09:00:00Z",
        "provider": "copilot",
        "account": "",
        "window": "premium_interactions",
        "used_percent": "33.333333333333336",
        "used": "100",
        "limit": "300",
        "remaining": "200",
        "unit": "requests",
        "resets_at": "2026-02-01T00:00:00Z",
    }


def test_a_spreadsheet_takes_no_text_for_a_formula(tmp_path, monkeypatch, capsys):
    own = Paths(tmp_path / "config", tmp_path / "state")
    use(own, monkeypatch, tmp_path)
    sample_history.live(own, account_name='=HYPERLINK("http://evil.example")')
    assert app.run(["history", "claude", "--csv"]) == 0
    rows = list(csv.DictReader(capsys.readouterr().out.splitlines()))
    assert rows[0]["account"] == '\'=HYPERLINK("http://evil.example")'


def test_a_picture_is_written_as_svg(history, tmp_path):
    file = tmp_path / "usage.svg"
    history("--plot", str(file))
    assert has_mode(file, 0o600)
    text = file.read_text("utf-8")
    ET.fromstring(text)
    assert "prefers-color-scheme:dark" in text
    assert "session: critical at 95 %" in text
    assert "session: firing (warning) at 83 %" in text
    assert "AI usage, last 7 days" in text


def test_a_picture_is_written_as_png(history, tmp_path):
    pytest.importorskip("resvg_py")
    file = tmp_path / "usage.png"
    history("claude", "--plot", str(file))
    image = file.read_bytes()
    assert image.startswith(PNG)
    assert int.from_bytes(image[16:20]) == 1800


def test_without_a_converter_the_error_says_what_to_install(monkeypatch):
    monkeypatch.setitem(sys.modules, "resvg_py", None)
    with pytest.raises(command.NoConverterError, match=r"python\S* -m pip install resvg-py`.*FILE\.svg"):
        command.convert_to_png("<svg/>")


def test_a_converter_that_fails_is_named():
    pytest.importorskip("resvg_py")
    with pytest.raises(command.NoConverterError, match=r"resvg_py cannot convert .*write FILE\.svg"):
        command.convert_to_png("no picture")


def test_the_picture_in_the_terminal_has_a_key(history):
    text = history("claude.five_hour", "--plot")
    assert charts.LEGEND in text
    assert text.count("claude.five_hour") == 1


def test_a_broken_rule_is_an_error_with_its_place(tmp_path, monkeypatch, capsys):
    own = Paths(tmp_path / "config", tmp_path / "state")
    use(own, monkeypatch, tmp_path)
    sample_history.live(own)
    own.config_file.write_text("[[rule]]\nname = 3\n")
    assert app.run(["history", "claude", "--json"]) == 78
    assert "config.toml:2:8: " in capsys.readouterr().err


def test_an_account_is_named_only_where_there_are_several(history):
    text = history() + history("claude", "--plot")
    assert "me<script>" not in text


@pytest.mark.usefixtures("own")
@pytest.mark.parametrize(
    ("words", "shown"),
    [
        (["claud"], "`claud`: "),
        (["claude.used"], "`claude.used`: "),
        (["--since", "soon"], "--since: "),
        (["--since", "0m"], "--since: 0m is over at once: write a duration such as 45m, 2h or 7d"),
        (["--json", "--csv"], "give one of --json, --csv and --plot"),
        (["--plot", "usage.pdf"], "usage.pdf is neither FILE.svg nor FILE.png; put --plot last to draw"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(capsys, words, shown):
    assert app.run(["history", *words]) == 64
    assert shown in capsys.readouterr().err


@pytest.mark.usefixtures("own")
def test_a_file_that_cannot_be_written_is_named(capsys, tmp_path):
    assert app.run(["history", "--plot", str(tmp_path / "nowhere" / "usage.svg")]) == 64
    assert f"{tmp_path / 'nowhere' / 'usage.svg'}: No such file or directory" in capsys.readouterr().err


def test_nothing_read_yet_says_what_to_do(tmp_path, monkeypatch, capsys):
    use(Paths(tmp_path / "config", tmp_path / "state"), monkeypatch, tmp_path)
    assert app.run(["history"]) == 69
    assert "run `watcher run` or `watcher check` first" in capsys.readouterr().err


def test_nothing_read_in_that_time_says_where_to_look(history, monkeypatch):
    monkeypatch.setattr(clock, "utc_now", lambda: sample_history.NOW + timedelta(days=9))
    assert history("claude") == ("nothing was read of claude in the last 7d: look further back with --since\n")


def test_what_was_thinned_to_hours_is_still_there(tmp_path, monkeypatch, capsys):
    own = Paths(tmp_path / "config", tmp_path / "state")
    use(own, monkeypatch, tmp_path)
    sample_history.live(own)
    later = datetime(2026, 4, 1, tzinfo=UTC)
    store = Store(own.state_dir / DATABASE_FILE_NAME, now=later)
    store.run_transaction(lambda: store.delete_old_records(later), now=later)
    store.close()
    monkeypatch.setattr(clock, "utc_now", lambda: later)
    assert app.run(["history", "claude.five_hour", "--json", "--since", "60d"]) == 0
    (series,) = json.loads(capsys.readouterr().out)["series"]
    assert len(series["readings"]) == 49
    assert len(series["resets"]) == 9
