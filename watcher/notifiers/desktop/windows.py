"""Windows: a toast by Windows PowerShell, which can use WinRT without a further library.

The script is a constant, encoded so that it needs no quoting. It reads the text from variables and adds it to the
toast's XML as text nodes, so that it is never read as script or markup. The system reports whether notifications are
switched off, but not whether one was shown: the best result is unknown.

WSL starts the same program; it passes only the variables that WSLENV names.
"""

import base64
import hashlib
from collections.abc import Mapping
from pathlib import Path

from msgspec.structs import replace

from watcher.core.model import Command, Message
from watcher.notifiers import base

TITLE_LIMIT = 63
BODY_LIMIT = 255
"""UTF-16 units, the limits of a balloon, which a toast wraps to four lines anyway."""

EXIT_SWITCHED_OFF = 3
"""The script's exit code where Windows will not show the toast."""

_TIMEOUT_S = 10.0  # a cold start of PowerShell takes seconds

SCRIPT = r"""
$ErrorActionPreference = 'Stop'
$null = [Windows.UI.Notifications.ToastNotificationManager, Windows.UI.Notifications, ContentType = WindowsRuntime]
$null = [Windows.UI.Notifications.ToastNotification, Windows.UI.Notifications, ContentType = WindowsRuntime]
$null = [Windows.Data.Xml.Dom.XmlDocument, Windows.Data.Xml.Dom, ContentType = WindowsRuntime]
$xml = New-Object Windows.Data.Xml.Dom.XmlDocument
$xml.LoadXml('<toast><visual><binding template="ToastGeneric"><text/><text/></binding></visual></toast>')
$texts = $xml.GetElementsByTagName('text')
$null = $texts.Item(0).AppendChild($xml.CreateTextNode($env:WATCHER_TITLE))
$null = $texts.Item(1).AppendChild($xml.CreateTextNode($env:WATCHER_MESSAGE))
if ($env:WATCHER_LINK) {
  $xml.DocumentElement.SetAttribute('activationType', 'protocol')
  $xml.DocumentElement.SetAttribute('launch', $env:WATCHER_LINK)
}
if ($env:WATCHER_URGENCY -eq 'critical') { $xml.DocumentElement.SetAttribute('duration', 'long') }
$toast = New-Object Windows.UI.Notifications.ToastNotification $xml
if ($env:WATCHER_TAG) { $toast.Tag = $env:WATCHER_TAG; $toast.Group = 'watcher' }
$app = '{1AC14E77-02E7-4E5D-B744-2EB1AE5198B7}\WindowsPowerShell\v1.0\powershell.exe'
$notifier = [Windows.UI.Notifications.ToastNotificationManager]::CreateToastNotifier($app)
if ([int]$notifier.Setting -ne 0) { exit 3 }
$notifier.Show($toast)
""".strip()
"""Constant. The toast is shown in the name of Windows PowerShell: an unregistered name would show nothing."""


def show(message: Message, run: base.Run, env: Mapping[str, str]) -> base.BackendResult:
    """Show a toast: unknown if Windows accepted it; failed without PowerShell or with notifications switched off."""
    finished, answer = base.run_backend(build_command(message, env), run)
    if finished.exit_code == EXIT_SWITCHED_OFF:
        return base.BackendResult(
            delivered=False, reason="notifications are switched off; see Settings, System, Notifications"
        )
    reason = "handed to Windows, which does not say whether it was shown; if not, see Settings, System, Notifications"
    return answer or base.BackendResult(delivered=None, reason=reason, accepted=True)


WSL_POWERSHELL = "/mnt/c/Windows/System32/WindowsPowerShell/v1.0/powershell.exe"
"""Where it usually is, for a systemd unit: its PATH has no folder of Windows, and its environment no WSL_INTEROP."""

_WSL_SOCKETS = Path("/run/WSL")
_KERNEL_RELEASE = Path("/proc/sys/kernel/osrelease")


def is_wsl(env: Mapping[str, str]) -> bool:
    """Whether this Linux runs inside Windows."""
    try:
        return bool(env.get("WSL_DISTRO_NAME")) or "microsoft" in _KERNEL_RELEASE.read_text("utf-8").lower()
    except OSError:
        return False


def find_wsl_powershell(env: Mapping[str, str]) -> str | None:
    """Windows PowerShell, as a program that WSL can start; None if it is not there."""
    import shutil  # noqa: PLC0415 - with its decompressors, 0.5 MB, and only here

    usual = WSL_POWERSHELL if Path(WSL_POWERSHELL).exists() else None
    return shutil.which("powershell.exe", path=env.get("PATH")) or usual


def show_from_wsl(message: Message, run: base.Run, env: Mapping[str, str]) -> base.BackendResult:
    """As `show`, from WSL."""
    program = find_wsl_powershell(env)
    if program is None:
        return base.BackendResult(delivered=False, reason=f"powershell.exe is not on PATH, nor at {WSL_POWERSHELL}")
    command = build_command(message, {})
    shared = [env["WSLENV"]] if env.get("WSLENV") else []
    sockets = sorted(_WSL_SOCKETS.glob("*_interop"), key=lambda path: path.lstat().st_mtime)
    interop = env.get("WSL_INTEROP") or (str(sockets[-1]) if sockets else "")
    variables = {
        **command.env,
        "WSLENV": ":".join([*shared, *command.env]),
        **({"WSL_INTEROP": interop} if interop else {}),
    }
    wrapped = replace(command, argv=(program, *command.argv[1:]), env=variables)
    return show(message, lambda _command: run(wrapped), env)


def format_body(message: Message) -> str:
    """The body, after the title if that is too long for its own field: it ends with the time of the reset."""
    return message.body if base.count_utf16_units(message.title) <= TITLE_LIMIT else f"{message.title}\n{message.body}"


def build_command(message: Message, env: Mapping[str, str]) -> Command:
    """The command with the text in variables; the tag lets a later message of an alert replace the earlier."""
    root = env.get("SYSTEMROOT") or env.get("SystemRoot")
    program = rf"{root}\System32\WindowsPowerShell\v1.0\powershell.exe" if root else "powershell.exe"
    encoded = base64.b64encode(SCRIPT.encode("utf-16-le")).decode()
    return Command(
        argv=(program, "-NoLogo", "-NoProfile", "-NonInteractive", "-EncodedCommand", encoded),
        env={
            "WATCHER_TITLE": base.clip(message.title, TITLE_LIMIT, measure=base.count_utf16_units) or base.APP_NAME,
            "WATCHER_MESSAGE": base.clip(format_body(message), BODY_LIMIT, measure=base.count_utf16_units),
            "WATCHER_LINK": base.get_safe_link(message),
            "WATCHER_URGENCY": ("low", "normal", "critical")[base.get_urgency(message)],
            "WATCHER_TAG": hashlib.sha256(message.thread.encode()).hexdigest()[:16] if message.thread else "",
        },
        timeout_s=_TIMEOUT_S,
    )
