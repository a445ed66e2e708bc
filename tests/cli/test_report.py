import contextlib
import os
import re
import shutil
import subprocess
import zlib
from datetime import UTC, timedelta
from html.parser import HTMLParser
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from tests.cli import sample_history
from tests.cli.charts.samples import LAST_DAY, make_track
from tests.cli.sample_history import NOW
from tests.core.samples import premium, reading
from tests.doctor.host import SECRETS
from tests.world import has_mode
from watcher import pipeline
from watcher.cli import app
from watcher.cli.charts import TimeRange
from watcher.cli.report import _estimate_exhaustion, _fit_range, render_window
from watcher.config import loader
from watcher.core.engine.timeline import WindowPeriod
from watcher.core.model import Snapshot, WindowKind
from watcher.status.document import WindowStatus
from watcher.storage.store import DATABASE_FILE_NAME, Store
from watcher.system import clock
from watcher.system.paths import Paths

REQUIRED = os.environ.get("WATCHER_REQUIRE_SYSTEM_TESTS") == "1"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class PageReader(HTMLParser):
    """Reads a page strictly: every element that is opened is closed."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag != "meta":
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def tags(self):
        return {tag for tag, _ in self.seen}


@pytest.fixture
def home(tmp_path, monkeypatch):
    own = Paths(tmp_path / "config", tmp_path / "state")
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("WATCHER_CONFIG_DIR", str(own.config_dir))
    monkeypatch.setenv("WATCHER_STATE_DIR", str(own.state_dir))
    monkeypatch.setenv("TZ", "UTC")
    monkeypatch.setattr(clock, "utc_now", lambda: sample_history.NOW)
    monkeypatch.chdir(tmp_path)
    return own


def write_report(tmp_path, *options):
    file = tmp_path / "usage.html"
    assert app.run(["report", "--output", str(file), *options]) == 0
    return file.read_text("utf-8")


def read_words(text):
    return " ".join(" ".join(PageReader(text).words).split())


def test_the_page_has_windows_pace_alerts_and_what_was_spent(home, tmp_path):
    sample_history.live(home)
    words = read_words(write_report(tmp_path))
    assert "AI usage, last 7 days 25 Feb 2026 to 4 Mar 2026" in words
    assert words.index("Fires now rule") < words.index("Runs out next") < words.index("Alerts rule")
    assert words.index("Alerts rule") < words.index("Claude max 5-hour window")
    assert "Claude max 5-hour window" in words
    assert "now 63 %" in words
    assert "reset resets in 2 h (11:00)" in words
    assert "Spent before each of 9 resets" in words
    assert "Wed 4 Mar 06:00 39 % 61 %" in words
    assert "Problem: GitHub Copilot: expired: run `gh auth login`" in words
    assert "balance now" not in words
    assert "fires now" in words
    assert "▲ an alert fired" in words


def test_what_runs_out_next_is_listed_by_time(home, tmp_path):
    own = WindowStatus(
        window="five_hour", series="claude.five_hour", kind="session", label="", used_percent=50.0, used=None,
        limit=None, remaining=None, unit="", unlimited=False, resets_at=NOW + timedelta(hours=4),
        window_seconds=18000, stale=False,
        projected_percent=150.0,
    )  # fmt: skip
    assert _estimate_exhaustion(own, NOW) == NOW + timedelta(hours=2)
    for other in (
        replace(own, projected_percent=99.0),
        replace(own, projected_percent=None),
        replace(own, used_percent=100.0),
        replace(own, stale=True),
        replace(own, resets_at=NOW),
    ):
        assert _estimate_exhaustion(other, NOW) is None
    sample_history.live(home)
    words = read_words(write_report(tmp_path)).partition("Runs out next")[2]
    assert words.startswith(" window used runs out reset Claude, 5-hour window 63 % in ")


def test_unlimited_windows_are_a_line_of_text(home, tmp_path):
    sample_history.live(home)
    settings = loader.load_config(home, lambda text: text, tmp_path)
    store = Store(home.state_dir / DATABASE_FILE_NAME, now=NOW)
    chat = reading(window="chat", kind=WindowKind.MONTHLY, label="Chat", used_percent=None, unlimited=True)
    snapshot = Snapshot(provider="copilot", at=NOW, readings=(premium(190), chat))
    pipeline.process_result(store, settings, snapshot, now=NOW, every=timedelta(minutes=15))
    store.close()
    text = write_report(tmp_path)
    assert "Unlimited: Chat." in read_words(text)
    assert text.count("<svg") == 4


def test_pictures_begin_with_the_first_reading():
    track = make_track(10, 20, 30)
    first = track.usage_history.points[0].at
    week = TimeRange(start=first - timedelta(days=6), end=first + timedelta(days=1), tz=UTC)
    assert _fit_range([track], week).start == first
    assert _fit_range([track], replace(week, start=first + timedelta(hours=1))).start == first + timedelta(hours=1)
    assert _fit_range([], week) == week
    assert _fit_range([track], replace(week, end=first + timedelta(minutes=1))).start < first - timedelta(hours=5)


def test_an_alert_has_its_beginning_length_and_end(home, tmp_path):
    sample_history.live(home)
    text = write_report(tmp_path)
    words = read_words(text).split("Alerts rule window from for used")[1]
    assert "warning session Claude, 5-hour window Mon 2 Mar 13:00 1 h, reset 83 %" in words
    assert "warning balance Nano-GPT, balance" in words


def test_days_set_how_far_back_the_report_goes(home, tmp_path):
    sample_history.live(home)
    assert "Spent before each of 5 resets" in write_report(tmp_path, "--days", "1")
    assert "AI usage, last 1 day" in write_report(tmp_path, "--days", "1")
    assert "AI usage, last 30 days" in write_report(tmp_path, "--days", "30")


def test_without_output_the_file_is_named_after_the_day(home, tmp_path, capsys):
    sample_history.live(home)
    assert app.run(["report"]) == 0
    assert (tmp_path / "ai-usage-2026-03-04.html").read_text("utf-8").startswith("<!doctype html>")
    assert has_mode(tmp_path / "ai-usage-2026-03-04.html", 0o600)
    assert capsys.readouterr() == ("", "written: ai-usage-2026-03-04.html\n")


def test_the_page_is_opened_on_request(home, monkeypatch, tmp_path, capsys):
    sample_history.live(home)
    opened = []
    monkeypatch.setattr("watcher.cli.report.open_in_browser", opened.append)
    assert app.run(["report", "--open"]) == 0
    assert opened == [(tmp_path / "ai-usage-2026-03-04.html").as_uri()]
    assert capsys.readouterr().err.splitlines()[1] == "no browser could be opened; open that file yourself"
    assert app.run(["report", "--open", "-o", "-"]) == 64


def test_a_dash_writes_to_standard_output(home, capfdbinary):
    sample_history.live(home)
    assert app.run(["report", "-o", "-"]) == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"<!doctype html>")
    assert err == b""


def test_markup_in_a_name_stays_text(home, tmp_path):
    sample_history.live(home)
    text = write_report(tmp_path)
    assert "<script" not in text


def test_the_page_is_well_formed_and_loads_nothing(home, tmp_path):
    sample_history.live(home)
    text = write_report(tmp_path)
    page = PageReader(text)
    assert page.tags().isdisjoint({"script", "img", "link", "iframe", "object", "embed", "form", "a", "base"})
    assert not re.search(r"https?:|//[a-z]|url\(|@import|src=|href=| on[a-z]+=", text)
    policy = next(each["content"] for tag, each in page.seen if each.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_the_page_has_a_light_and_a_dark_theme(home, tmp_path):
    sample_history.live(home)
    text = write_report(tmp_path)
    assert text.count("@media(prefers-color-scheme:dark)") == 2
    assert '<meta name="color-scheme" content="light dark">' in text


def test_a_severity_is_a_word_and_not_only_a_colour(home, tmp_path):
    sample_history.live(home)
    assert '<span class="badge warning">warning</span>\nsession</span></td>' in write_report(tmp_path)


def test_numbers_are_aligned(home, tmp_path):
    sample_history.live(home)
    text = write_report(tmp_path)
    assert '<th scope="col" class="n">spent</th>' in text
    assert '<td class="n">83 %</td>' in text


def render_with_resets(count, name="x"):
    period = WindowPeriod(ended_at=sample_history.NOW, used_percent=82.0, ended_early=False)
    track = make_track(10, 82, name=name)
    track = replace(track, usage_history=replace(track.usage_history, label=name, periods=(period,) * count))
    return render_window(track, None, LAST_DAY)


def test_resets_are_folded():
    assert "<details><summary>Spent before the reset<" in render_with_resets(1)
    assert "<details><summary>Spent before each of 9 resets<" in render_with_resets(9)
    assert "<details" not in render_with_resets(0)


@given(st.text())
def test_any_text_in_a_window_stays_text(name):
    assert PageReader(render_with_resets(1, f"x{name}")).seen[:1] == [("article", {})]
    tags = [[tag for tag, _ in PageReader(render_with_resets(1, each)).seen] for each in (f"x{name}", "x")]
    assert tags[0] == tags[1]


def test_several_accounts_are_named_and_escaped(home, tmp_path):
    sample_history.live(home)
    sample_history.another_account(home)
    text = write_report(tmp_path)
    assert "<script" not in text
    assert f"Claude ({sample_history.EVIL})" in read_words(text)
    assert "Claude (you@example.com)" in read_words(text)


def test_no_secret_is_in_the_page(home, tmp_path, monkeypatch):
    monkeypatch.setenv("TEAM_URL", SECRETS["team"])
    sample_history.live(home)
    home.config_file.write_text('[channels.team]\ntype = "slack"\nurl = "env:TEAM_URL"\n' + sample_history.RULES)
    assert SECRETS["team"] not in write_report(tmp_path)
    assert "planted" not in write_report(tmp_path)


def test_without_readings_the_command_says_what_to_do(home, capsys):
    assert not home.state_dir.exists()
    assert app.run(["report"]) == 69
    assert "run `watcher run` or `watcher check` first" in capsys.readouterr().err


def test_a_page_without_readings_in_its_time_says_so(home, tmp_path, monkeypatch):
    sample_history.live(home)
    monkeypatch.setattr(clock, "utc_now", lambda: sample_history.NOW + timedelta(days=9))
    words = read_words(write_report(tmp_path))
    assert words.count("Nothing was read in this time.") == 3
    assert "No alert fired in this time." in words
    assert "an alert fired" not in words


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--days", "0"], "0 is not in the range 1<=x<=365"),
        (
            ["--output", "nowhere/x.html"],
            f"cannot write {Path('nowhere/x.html')}: No such file or directory; give another place",
        ),
    ],
)
def test_a_wrong_option_is_an_error(home, capsys, options, message):
    sample_history.live(home)
    assert app.run(["report", *options]) == 64
    assert message in capsys.readouterr().err


# --- in a real browser ------------------------------------------------------------------------------------------------


@contextlib.contextmanager
def listening():
    """A server that only notes who asked it for what."""
    asked = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self):
            asked.append(self.path)
            self.send_error(404)

        def log_message(self, *_words):
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server.server_address[1], asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


def browse(folder, file, *options):
    if CHROMIUM is None:
        if REQUIRED:
            pytest.fail("chromium is missing: install the packages of .ci/system-packages.txt")
        pytest.skip("chromium is not installed")
    profile = folder / f"profile{len(list(folder.iterdir()))}"
    words = ["--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", f"--user-data-dir={profile}"]
    done = subprocess.run(
        [CHROMIUM, *words, "--window-size=1000,1400", *options, file.as_uri()],
        capture_output=True,
        timeout=120,
        check=False,
        env={"PATH": os.environ["PATH"], "HOME": str(folder), "LC_ALL": "C.UTF-8", "TZ": "UTC"},
    )
    assert done.returncode == 0, done.stderr.decode(errors="replace")[-2000:]
    return done.stdout.decode()


def first_pixel(image):
    """The colour at the top left of an RGB PNG: no filter changes the very first pixel."""
    assert image.startswith(b"\x89PNG\r\n\x1a\n")
    data, at = b"", 8
    while at < len(image):
        size, kind = int.from_bytes(image[at : at + 4]), image[at + 4 : at + 8]
        data += image[at + 8 : at + 8 + size] if kind == b"IDAT" else b""
        at += size + 12
    return tuple(zlib.decompress(data)[1:4])


@pytest.mark.system
def test_a_browser_shows_the_page_and_runs_and_loads_nothing(home, tmp_path):
    with listening() as (port, asked):
        evil = f'<img src="http://127.0.0.1:{port}/leak"><script>document.title="taken"</script>'
        sample_history.live(home, account_name=evil)
        sample_history.another_account(home)
        write_report(tmp_path)
        tree = browse(tmp_path, tmp_path / "usage.html", "--dump-dom")
    assert asked == []
    assert "<title>AI usage, last 7 days</title>" in tree
    assert tree.count("<svg") == 5
    assert tree.count('<path class="usage"') > 9
    assert "&lt;img src=" in tree


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(("scheme", "paper"), [(1, (255, 255, 255)), (0, (13, 17, 23))])
def test_a_browser_shows_the_page_in_the_reader_s_theme(home, tmp_path, scheme, paper):
    sample_history.live(home)
    write_report(tmp_path)
    shot = tmp_path / "shot.png"
    options = [f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={shot}"]
    browse(tmp_path, tmp_path / "usage.html", *options)
    assert first_pixel(shot.read_bytes()) == paper


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(("scheme", "paper"), [(1, "#ffffff"), (0, "#0d1117")])
def test_a_browser_shows_the_picture_in_the_reader_s_theme(home, tmp_path, scheme, paper):
    sample_history.live(home)
    file, shot = tmp_path / "usage.svg", tmp_path / "shot.png"
    assert app.run(["history", "--since", "3650d", "--plot", str(file)]) == 0
    options = [f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={shot}"]
    file.write_text(file.read_text("utf-8").replace(' rx="10"', ""))  # so that the first pixel is the paper's
    browse(tmp_path, file, *options)
    assert first_pixel(shot.read_bytes()) == tuple(bytes.fromhex(paper[1:]))
