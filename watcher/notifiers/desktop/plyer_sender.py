"""The process that shows one notification through plyer: a job as JSON on stdin, an exit code and one line out.

Run as `python -m watcher.notifiers.desktop.plyer_sender` by the desktop's chain; never import it elsewhere.
"""

import json
import os
import sys
import warnings

from watcher.notifiers.desktop.notify_send import escape_body

BALLOON_S = 5


def main() -> int:
    """0: plyer raised nothing, which is all it ever says. 1: it did, or it would be unsafe to ask."""
    job = json.load(sys.stdin)
    warnings.simplefilter("ignore")
    try:
        if sys.platform.startswith("linux"):
            job = prepare_for_linux(job)
        from plyer import notification  # noqa: PLC0415 - the whole point of this process

        notification.notify(**job, timeout=BALLOON_S)
    except Exception as error:  # noqa: BLE001 - whatever it is, the chain must hear of it
        sys.stderr.write(f"{type(error).__name__}: {str(error).splitlines()[0] if str(error) else 'no reason given'}\n")
        return 1
    return 0


def prepare_for_linux(job: dict[str, str]) -> dict[str, str]:
    """The text as plyer's Linux part can pass it on without harm.

    Where there is a folder `/app`, it would put the text into a `gdbus` call's expression: refused. Its notify-send
    gets no `--`, so a title must not begin with a dash.

    Raises:
        RuntimeError: plyer would take this machine for a Flatpak.
    """
    if os.path.isdir("/app"):  # noqa: PTH112 - the very test that plyer makes
        raise RuntimeError("plyer takes a machine with a folder /app for a Flatpak")
    title = job["title"]
    return job | {
        "title": "\u200b" + title if title.startswith("-") else title,
        "message": escape_body(job["message"]),
    }


if __name__ == "__main__":
    sys.exit(main())
