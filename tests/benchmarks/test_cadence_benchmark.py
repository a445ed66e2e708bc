import subprocess
import sys
from pathlib import Path

TOP = Path(__file__).parents[2]


def run(*words: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "benchmarks", *words]
    return subprocess.run(command, cwd=TOP, capture_output=True, text=True, check=False)


def test_it_prints_one_row_for_each_policy_and_a_verdict_the_same_every_time() -> None:
    first, second = (run("cadence", "--days", "1", "--provider", "gemini_cli") for _ in range(2))
    assert (first.returncode, first.stderr) == (0, "")
    assert first.stdout == second.stdout
    lines = first.stdout.splitlines()
    policies = ["ours", "ours, no hints", "fixed 5 min", "fixed 10 min", "menu adaptive"]
    assert [line[:15].strip() for line in lines[-6:-1]] == policies
    assert lines[-1].startswith("goal ")
    assert max(len(line) for line in lines) <= 100


def test_an_unknown_benchmark_names_those_there_are() -> None:
    finished = run("speed-of-light")
    assert finished.returncode == 1
    assert "NAME is one of: " in finished.stderr
    assert "cadence" in finished.stderr
