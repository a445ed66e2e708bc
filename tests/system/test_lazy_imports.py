"""The daemon carries nothing that it never calls, and what it does without it still works."""

import json
import subprocess
import sys

import pytest

from watcher.system import lazy_imports

NEVER_CALLED = (
    "asyncio",
    "charset_normalizer",
    "chardet",
    "click",
    "rich",
    "tomli_w",
    "plyer",
    "apprise",
    "jeepney",
    "importlib.metadata",
    *("shutil", "tempfile", "lzma", "zoneinfo", "difflib", "email", "sysconfig"),
    *(("inspect",) if sys.version_info < (3, 14) else ()),  # from there on `traceback` loads it
    *("requests", "urllib3", "ssl", "_ssl", "_hashlib"),  # in the processes of `http_process` alone
)
LOADS_THE_DAEMON = """
import json, sys
from pathlib import Path
sys.modules["typing_extensions"] = None  # msgspec uses it where it is; no dependency of the program brings it
from watcher import cli
cli.import_service()
from watcher.core.model import Request
from watcher.core.redaction import Redactor
from watcher.system.log import FileLog
folder = Path(sys.argv[1])
FileLog(folder, Redactor()).info("a line")
loaded = [name for name in sys.argv[2:] if name in sys.modules]
from watcher.demo.server import Server, json_reply
from watcher.system import http
with Server(lambda asked: json_reply({"café": 1}, **{"content-type": "application/json; charset=latin-1"})) as server:
    body = http.send_request(Request(url=server.url + "/x")).body
print(json.dumps([loaded, (folder / "watcher.log").read_text()[20:].split(), json.loads(body)]))
"""


def test_the_daemon_loads_none_of_what_it_never_calls_and_works_without(tmp_path):
    program = [sys.executable, "-W", "error", "-c", LOADS_THE_DAEMON, str(tmp_path), *NEVER_CALLED]
    done = subprocess.run(program, capture_output=True, text=True, check=False)
    assert done.stderr.count("a line") == 1
    assert json.loads(done.stdout) == [[], ["INFO", "a", "line"], {"café": 1}]


def test_what_was_left_out_can_be_imported_later():
    program = (
        "from watcher.cli import service\nimport asyncio, charset_normalizer\n"
        "async def two(): return 2\nassert asyncio.run(two()) == 2\nassert charset_normalizer.__version__"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_what_is_loaded_already_stays():
    with lazy_imports.suppress_imports(missing=("json",), stubbed=("subprocess",)):
        assert sys.modules["json"] is json
        assert sys.modules["subprocess"] is subprocess


def test_an_absent_module_is_not_found_and_a_hollow_one_is_empty(monkeypatch):
    for name in ("colorsys", "sndhdr_like"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    with lazy_imports.suppress_imports(missing=("colorsys",), stubbed=("sndhdr_like",)):
        with pytest.raises(ImportError):
            __import__("colorsys")
        assert __import__("sndhdr_like").anything() == ()
    assert __import__("colorsys").rgb_to_hsv
