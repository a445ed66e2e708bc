"""The process that sends one message through Apprise: a job as JSON on stdin, an exit code out.

Run as `python -m watcher.notifiers.apprise_child` by the channel `apprise`; never import it: the library is large. It
never prints: the library's messages may hold the address.
"""

import json
import logging
import sys

from watcher.notifiers.apprise import EXIT_BAD_ADDRESS, EXIT_NOT_INSTALLED


def main() -> int:
    """0 sent, 1 the service did not take it, 69 not installed, 78 an address that Apprise does not know."""
    logging.disable(logging.CRITICAL)
    job = json.load(sys.stdin)
    try:
        import apprise  # noqa: PLC0415 - the whole point of this process
    except ImportError:
        return EXIT_NOT_INSTALLED
    service = apprise.Apprise()
    if not service.add(job["url"]):
        return EXIT_BAD_ADDRESS
    sent = service.notify(
        title=job["title"], body=job["body"], notify_type=job["type"], body_format="text", interpret_escapes=False
    )
    return 0 if sent else 1


if __name__ == "__main__":
    sys.exit(main())
