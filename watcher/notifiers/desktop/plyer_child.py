"""The process that shows one notification through plyer: a job as JSON on stdin, an exit code and one line out.

Run as `python -m watcher.notifiers.desktop.plyer_child` by the desktop's chain; never import it elsewhere.
"""

import json
import os
import sys
import warnings
from importlib.util import find_spec

from watcher.notifiers.desktop.dbus import escape_markup

BALLOON_TIMEOUT_S = 5


def main() -> int:
    """0: plyer raised nothing, which is all it ever says. 1: it did, or asking it would be unsafe or in vain."""
    job = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    try:
        if sys.platform.startswith("linux"):
            check_linux_backend()
            job["message"] = escape_markup(job["message"])
        from plyer import notification  # noqa: PLC0415 - the whole point of this process

        notification.notify(**job, timeout=BALLOON_TIMEOUT_S)
    except Exception as error:  # noqa: BLE001 - whatever it is, the chain must hear of it
        sys.stderr.write(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}\n")
        return 1
    return 0


def check_linux_backend() -> None:
    """Of plyer's three ways on Linux only dbus-python is worth asking: it raises what went wrong.

    Raises:
        RuntimeError: there is a folder `/app`, where plyer would put the text into a `gdbus` call's expression; or it
            would run notify-send, which has just failed, and ignore that it fails again.
    """
    if os.path.isdir("/app"):  # noqa: PTH112 - the very test that plyer makes
        raise RuntimeError("plyer takes a machine with a folder /app for a Flatpak")
    if find_spec("dbus") is None:
        raise RuntimeError("plyer would only run notify-send again")


if __name__ == "__main__":
    sys.exit(main())
