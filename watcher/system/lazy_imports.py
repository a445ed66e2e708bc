"""Heavy libraries without the parts of them that this program never calls: half of why the daemon is small.

`requests` loads a detector of text encodings (3 MB; bodies here are JSON) and a reader of package versions (0.4 MB; for
HTTP/2), `loguru` an event loop (1.5 MB; no sink here is a coroutine). Inside `suppress_imports`, an import of these finds
nothing, or a module whose every name is None; afterwards whoever needs the real one gets it. Never put a library here
that anything of ours calls.
"""

import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType


class _StubModule(ModuleType):
    """Stands in for a module whose names are only stored."""

    def __getattr__(self, name: str) -> None:
        if name.startswith("__"):
            raise AttributeError(name)


@contextmanager
def suppress_imports(*, missing: tuple[str, ...] = (), stubbed: tuple[str, ...] = ()) -> Iterator[None]:
    """Inside, `missing` modules seem not to be installed and `stubbed` ones are empty; what is loaded already stays."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment] # None is how Python notes absence
    put = {name: None for name in missing if name not in modules} | {
        name: _StubModule(name) for name in stubbed if name not in modules
    }
    modules.update(put)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `requests` is sorry about what it does without
            yield
    finally:
        for name in put:
            del modules[name]
