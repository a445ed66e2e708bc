import contextlib
import os
import shutil
import subprocess
import zlib
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread

import pytest

from tests.cli import sample_history
from tests.cli.charts.test_html import Reader
from tests.doctor.host import SECRETS
from watcher.cli import app
from watcher.system import clock
from watcher.system.paths import Paths

REQUIRED = os.environ.get("WATCHER_REQUIRE_SYSTEM_TESTS") == "1"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


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


def made(tmp_path, *words):
    file = tmp_path / "usage.html"
    assert app.run(["report", "--output", str(file), *words]) == 0
    return file.read_text()


def words_of(text):
    return " ".join(" ".join(Reader(text).words).split())


def test_the_page_tells_windows_pace_alerts_and_what_was_spent(home, tmp_path):
    sample_history.live(home)
    said = words_of(made(tmp_path))
    assert "AI usage, last 7 days 25 Feb 2026 to 4 Mar 2026" in said
    assert "4 windows watched" in said
    assert "57 % spent before a reset, on average" in said
    assert "Claude max 5-hour window" in said
    assert "now 63 %" in said
    assert "reset resets in 2 h (11:00)" in said
    assert "Spent before each of 9 resets" in said
    assert "Wed 4 Mar 06:00 39 % 61 % 30 min before" in said
    assert "Problem: GitHub Copilot: expired: run `gh auth login`" in said
    assert "balance now" not in said
    assert "fires now" in said


def test_an_alert_is_listed_with_its_beginning_its_length_and_its_end(home, tmp_path):
    sample_history.live(home)
    text = made(tmp_path)
    said = words_of(text).split("Alerts rule window from for used")[1]
    assert "warning session Claude, 5-hour window Mon 2 Mar 13:00 1 h, reset 83 %" in said
    assert "warning balance Nano-GPT, balance" in said


def test_days_choose_how_far_back_it_looks(home, tmp_path):
    sample_history.live(home)
    assert "Spent before each of 5 resets" in made(tmp_path, "--days", "1")
    assert "AI usage, last 1 day" in made(tmp_path, "--days", "1")
    assert "AI usage, last 30 days" in made(tmp_path, "--days", "30")


def test_without_a_name_the_file_is_called_after_the_day(home, tmp_path, capsys):
    sample_history.live(home)
    assert app.run(["report"]) == 0
    assert (tmp_path / "ai-usage-2026-03-04.html").read_text().startswith("<!doctype html>")
    assert capsys.readouterr() == ("", "written: ai-usage-2026-03-04.html\n")


def test_it_can_be_piped_on(home, capfdbinary):
    sample_history.live(home)
    assert app.run(["report", "-o", "-"]) == 0
    out, err = capfdbinary.readouterr()
    assert out.startswith(b"<!doctype html>")
    assert err == b""


def test_markup_from_outside_stays_text(home, tmp_path):
    sample_history.live(home)
    text = made(tmp_path)
    assert "<script" not in text


def test_several_accounts_are_distinguished_and_escaped(home, tmp_path):
    sample_history.live(home)
    sample_history.another_account(home)
    text = made(tmp_path)
    assert "<script" not in text
    assert f"Claude ({sample_history.EVIL})" in words_of(text)
    assert "Claude (you@example.com)" in words_of(text)


def test_no_secret_is_in_the_page(home, tmp_path, monkeypatch):
    monkeypatch.setenv("TEAM_URL", SECRETS["team"])
    sample_history.live(home)
    home.config_file.write_text('[channels.team]\ntype = "slack"\nurl = "env:TEAM_URL"\n' + sample_history.RULES)
    assert SECRETS["team"] not in made(tmp_path)
    assert "planted" not in made(tmp_path)


def test_nothing_read_yet_says_what_to_do(home, capsys):
    assert not home.state_dir.exists()
    assert app.run(["report"]) == 69
    assert "run `watcher run` or `watcher check` first" in capsys.readouterr().err


def test_nothing_read_in_that_time_is_a_page_that_says_so(home, tmp_path, monkeypatch):
    sample_history.live(home)
    monkeypatch.setattr(clock, "utc_now", lambda: sample_history.NOW + timedelta(days=9))
    said = words_of(made(tmp_path))
    assert said.count("Nothing was read in this time.") == 3
    assert "No alert fired in this time." in said


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--days", "0"], "0 is not in the range 1<=x<=365"),
        (["--output", "nowhere/x.html"], "cannot write nowhere/x.html: No such file or directory; give another place"),
    ],
)
def test_what_makes_no_sense_is_refused_with_what_would(home, capsys, words, said):
    sample_history.live(home)
    assert app.run(["report", *words]) == 64
    assert said in capsys.readouterr().err


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
def test_a_real_browser_shows_it_and_runs_and_loads_nothing(home, tmp_path):
    with listening() as (port, asked):
        evil = f'<img src="http://127.0.0.1:{port}/leak"><script>document.title="taken"</script>'
        sample_history.live(home, account_name=evil)
        sample_history.another_account(home)
        made(tmp_path)
        tree = browse(tmp_path, tmp_path / "usage.html", "--dump-dom")
    assert asked == []
    assert "<title>AI usage, last 7 days</title>" in tree
    assert tree.count("<svg") == 5
    assert tree.count('<path class="course"') > 9
    assert "&lt;img src=" in tree


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(("scheme", "paper"), [(1, (255, 255, 255)), (0, (13, 17, 23))])
def test_a_real_browser_paints_it_in_the_reader_s_theme(home, tmp_path, scheme, paper):
    sample_history.live(home)
    made(tmp_path)
    shot = tmp_path / "shot.png"
    options = [f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={shot}"]
    browse(tmp_path, tmp_path / "usage.html", *options)
    assert first_pixel(shot.read_bytes()) == paper


@pytest.mark.slow
@pytest.mark.system
@pytest.mark.parametrize(("scheme", "paper"), [(1, "#ffffff"), (0, "#0d1117")])
def test_a_real_browser_shows_the_picture_in_the_reader_s_theme(home, tmp_path, scheme, paper):
    sample_history.live(home)
    file, shot = tmp_path / "usage.svg", tmp_path / "shot.png"
    assert app.run(["history", "--since", "3650d", "--plot", str(file)]) == 0
    options = [f"--blink-settings=preferredColorScheme={scheme}", f"--screenshot={shot}"]
    file.write_text(file.read_text().replace(' rx="10"', ""))  # so that the first pixel is the paper's
    browse(tmp_path, file, *options)
    assert first_pixel(shot.read_bytes()) == tuple(bytes.fromhex(paper[1:]))
