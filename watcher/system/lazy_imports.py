"""Imports libraries without their unused parts, which halves the daemon's memory.

`requests` imports a detector of encodings (3 MB) and a reader of package versions (0.4 MB, for HTTP/2); `loguru`
imports an event loop (1.5 MB), a detector of coroutines (0.9 MB) and decompressors (0.5 MB). Inside `suppress_imports`
these are missing, or stubs whose names are all functions that return `()`; a later import gets the real modules.
"""

import sys
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import ModuleType


class _StubModule(ModuleType):
    """A module whose names are all functions that return `()`."""

    def __getattr__(self, name: str) -> Callable[..., tuple[()]]:
        if name.startswith("__"):
            raise AttributeError(name)
        return lambda *_: ()


@contextmanager
def suppress_imports(*, missing: tuple[str, ...] = (), stubbed: tuple[str, ...] = ()) -> Iterator[None]:
    """Inside, `missing` modules seem not to be installed and `stubbed` ones are empty, unless loaded already."""
    modules: dict[str, ModuleType | None] = sys.modules  # type: ignore[assignment] # None is how Python notes absence
    put = {name: None for name in missing if name not in modules} | {
        name: _StubModule(name) for name in stubbed if name not in modules
    }
    modules.update(put)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # `requests` warns about what is missing
            yield
    finally:
        for name in put:
            del modules[name]
