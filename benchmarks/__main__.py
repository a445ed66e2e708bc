"""`python -m benchmarks NAME [OPTIONS]`: runs one benchmark; without a name, says which there are."""

import sys
from importlib import import_module
from pathlib import Path

NAMES = sorted(
    path.stem for path in Path(__file__).parent.glob("[a-z]*.py") if "\ndef main()" in path.read_text("utf-8")
)


def main() -> None:
    """Hand over to `benchmarks.NAME.main`, which reads the rest of the command line."""
    if len(sys.argv) < 2 or sys.argv[1] not in NAMES:
        sys.exit(f"usage: python -m benchmarks NAME [OPTIONS]; NAME is one of: {', '.join(NAMES)}")
    name = sys.argv.pop(1)
    import_module(f"benchmarks.{name}").main()


main()
