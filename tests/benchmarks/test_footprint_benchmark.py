import json
import subprocess
import sys
from pathlib import Path

import pytest

TOP = Path(__file__).parents[2]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_long_run_prints_ten_samples_and_the_days_it_went_through() -> None:
    command = [sys.executable, "-m", "benchmarks", "footprint", "--over-time-child", "60"]
    done = subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    rows = [json.loads(line) for line in done.stdout.splitlines()]
    assert [row["polls"] for row in rows][:10] == [6 * number for number in range(1, 11)]
    assert all(row["rss_mb"] > 10 and row["db_mb"] > 0 for row in rows)
    assert rows[-1]["days"] > rows[0]["days"]
