"""Calls of the Windows API: file locks, wake events, sleep time, credentials.

Callers check `sys.platform` before they import it.
"""

import ctypes
import msvcrt
import sys
from collections.abc import Callable
from ctypes import wintypes
from threading import Thread

assert sys.platform == "win32"  # noqa: S101 - for mypy, which skips the rest elsewhere

_kernel = ctypes.WinDLL("kernel32", use_last_error=True)
_security = ctypes.WinDLL("advapi32", use_last_error=True)
_kernel.CreateEventW.restype = _kernel.OpenEventW.restype = wintypes.HANDLE
_kernel.WaitForSingleObject.argtypes = wintypes.HANDLE, wintypes.DWORD
_kernel.SetEvent.argtypes = _kernel.CloseHandle.argtypes = (wintypes.HANDLE,)

_LOCK_FAIL_IMMEDIATELY, _LOCK_EXCLUSIVE, _LOCK_AT_BYTE = 1, 2, 4096
_EVENT_MODIFY_STATE = 0x0002
_INFINITE = 0xFFFFFFFF
_CRED_TYPE_GENERIC = 1


# --- locks and signals ------------------------------------------------------------------------------------------------


class _Overlapped(ctypes.Structure):
    """`OVERLAPPED` of minwinbase.h."""

    _fields_ = (
        ("internal", ctypes.c_void_p),
        ("internal_high", ctypes.c_void_p),
        ("offset", wintypes.DWORD),
        ("offset_high", wintypes.DWORD),
        ("event", wintypes.HANDLE),
    )


def try_lock(descriptor: int, *, shared: bool = False) -> bool:
    """Lock an open file without waiting, as `flock` does; a lock of this descriptor is replaced.

    Such locks are mandatory, so it is one byte far behind the text, which other processes read.
    """
    handle, region = wintypes.HANDLE(msvcrt.get_osfhandle(descriptor)), _Overlapped(offset=_LOCK_AT_BYTE)
    _kernel.UnlockFileEx(handle, 0, 1, 0, ctypes.byref(region))
    flags = _LOCK_FAIL_IMMEDIATELY | (0 if shared else _LOCK_EXCLUSIVE)
    return bool(_kernel.LockFileEx(handle, flags, 0, 1, 0, ctypes.byref(region)))


def call_on_wake(process_id: int, callback: Callable[[], None]) -> None:
    """Call `callback`, in a thread, each time another process calls `wake_process` with this process' id."""
    event = _kernel.CreateEventW(None, False, False, _name_wake_event(process_id))  # noqa: FBT003 - resets itself, unset

    def wait() -> None:
        while event and _kernel.WaitForSingleObject(event, _INFINITE) == 0:
            callback()

    Thread(target=wait, daemon=True).start()


def wake_process(process_id: int) -> bool:
    """Set the event of that process, like SIGUSR1 on other systems; False if there is none."""
    event = _kernel.OpenEventW(_EVENT_MODIFY_STATE, False, _name_wake_event(process_id))  # noqa: FBT003 - not inherited
    if not event:
        return False
    is_set = bool(_kernel.SetEvent(event))
    _kernel.CloseHandle(event)
    return is_set


def _name_wake_event(process_id: int) -> str:
    """`Global`: the command may run in another session, such as one over ssh."""
    return f"Global\\ai-usage-watcher-wake-{process_id}"


# --- the clock --------------------------------------------------------------------------------------------------------


def reread_time_zone() -> None:
    """Apply a changed TZ, as `time.tzset` does elsewhere."""
    ctypes.CDLL("ucrtbase")["_tzset"]()


def read_unbiased_time_s() -> float:
    """Seconds since the system started, without sleep, which Python's monotonic clock includes."""
    ticks = ctypes.c_ulonglong()
    _kernel.QueryUnbiasedInterruptTime(ctypes.byref(ticks))
    return ticks.value / 10_000_000  # 100 ns each


# --- credentials ------------------------------------------------------------------------------------------------------


class _Credential(ctypes.Structure):
    """`CREDENTIALW` of wincred.h."""

    _fields_ = (
        ("flags", wintypes.DWORD),
        ("type", wintypes.DWORD),
        ("target_name", wintypes.LPWSTR),
        ("comment", wintypes.LPWSTR),
        ("last_written", wintypes.FILETIME),
        ("blob_size", wintypes.DWORD),
        ("blob", ctypes.POINTER(ctypes.c_char)),
        ("persist", wintypes.DWORD),
        ("attribute_count", wintypes.DWORD),
        ("attributes", ctypes.c_void_p),
        ("target_alias", wintypes.LPWSTR),
        ("user_name", wintypes.LPWSTR),
    )


def read_credential(target: str) -> bytes:
    """The Credential Manager's secret of that name; empty if there is none, or no logon session."""
    found = ctypes.POINTER(_Credential)()
    if not _security.CredReadW(target, _CRED_TYPE_GENERIC, 0, ctypes.byref(found)):
        return b""
    try:
        return ctypes.string_at(found.contents.blob, found.contents.blob_size)
    finally:
        _security.CredFree(found)
