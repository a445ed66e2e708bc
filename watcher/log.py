"""Where the daemon says what happens. This one says nothing: `check` and tests pass it; `watcher.logs` writes."""


class Log:
    """Four loudnesses, one line each."""

    def debug(self, message: str) -> None:
        """Every poll."""

    def info(self, message: str) -> None:
        """Something a person may want to know."""

    def warning(self, message: str) -> None:
        """Something a person should know."""

    def exception(self, context: str, error: BaseException) -> None:
        """Something that should not have happened."""
