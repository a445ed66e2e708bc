"""Work in a thread, its result on the loop's. The thread holds nothing up: it ends with the process."""

from collections.abc import Callable
from threading import Thread
from typing import TypeVar

T = TypeVar("T")
Call = Callable[[], None]


def in_background(work: Callable[[], T], then: Callable[[T], None], inbox: Callable[[Call], None]) -> None:
    """Do `work`, which never raises, in a thread of its own, and hand `then` with its result to the inbox."""

    def body() -> None:
        result = work()
        inbox(lambda: then(result))

    Thread(target=body, daemon=True).start()
