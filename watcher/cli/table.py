"""The table of `watcher status`, for any width, with or without colour, in UTF-8 or ASCII.

Pure: a document goes in, lines of styled text come out; the command prints them. The columns are as wide as their
widest cell; what does not fit is left out in the order of `_LAYOUTS`. Never put words here that `check` needs too.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.text import Text

from watcher.cli import words
from watcher.cli.words import Tongue
from watcher.status_document import AccountStatus, Status, Window

_STYLES = {"info": "cyan", "warning": "yellow", "critical": "bold red"}
Marks = Sequence[tuple[str, str]]
"""Rules that fire, each with its severity."""

_GAP = "  "
_FULL, _NEARLY, _MUCH = 100.0, 95.0, 80.0
_ASCII = str.maketrans({"·": "-", "█": "#", "░": ".", "▏": "|", "…": "~", "—": "-"})


class Layout(NamedTuple):
    """What is shown of a window in a given width."""

    bar: int  # columns
    label: int  # at most
    below: bool = False  # what is left, and where it will end, in a line of its own
    long: bool = True  # resets with the word
    apart: bool = False  # the reset is below, too
    rules: bool = True  # names of the alerts that fire


_LAYOUTS = (
    Layout(bar=30, label=40),
    Layout(bar=20, label=32),
    Layout(bar=12, label=26, rules=False),
    Layout(bar=14, label=28, rules=False, below=True),
    Layout(bar=10, label=24, rules=False, below=True, long=False),
    Layout(bar=8, label=20, rules=False, below=True, long=False),
    Layout(bar=4, label=20, rules=False, below=True, long=False),  # a name is worth more than a finer bar
    Layout(bar=6, label=16, rules=False, below=True, long=False),
    Layout(bar=2, label=12, rules=False, below=True, long=False),
    Layout(bar=8, label=20, rules=False, below=True, long=False, apart=True),
    Layout(bar=2, label=20, rules=False, below=True, long=False, apart=True),
    Layout(bar=2, label=12, rules=False, below=True, long=False, apart=True),
)
"""Widest first; the first that fits is taken, else the last, cut off."""


def table(  # noqa: PLR0913 - all that it depends on
    known: Status,
    tongue: Tongue,
    width: int,
    *,
    names: Mapping[str, str],
    absent: Sequence[str] = (),
    ascii_: bool,
    wraps: bool = False,
) -> list[Text]:
    """The lines of the table.

    Args:
        known: the document.
        tongue: of this instant.
        width: of the terminal, in columns.
        names: provider id -> name for people.
        absent: ids of providers without a login, to be named too.
        ascii_: the terminal has no other signs.
        wraps: break long sentences at the width; left out where a program reads, line by line.
    """
    lines = list(_accounts(known, tongue, width, names))
    if absent:
        lines.append(Text(f"no login found: {', '.join(names[each] for each in absent)}", style="dim"))
    lines += _rest(known, tongue)
    if wraps:
        lines = [part for line in lines for part in _wrapped(line, width)]
    return [_shown(line, ascii_=ascii_) for line in lines]


def _wrapped(line: Text, width: int) -> list[Text]:
    """A sentence that is too long, at its words; a row of columns never is."""
    if line.cell_len <= width or line.spans:
        return [line]
    indent = " " * (len(line.plain) - len(line.plain.lstrip()) + len(_GAP))
    parts = [
        piece
        for part in line.plain.split("\n")
        for piece in textwrap.wrap(part, width, subsequent_indent=indent, break_long_words=False) or [""]
    ]
    return [Text(part, style=line.style) for part in parts]


def _shown(line: Text, *, ascii_: bool) -> Text:
    """The line with nothing in it that a terminal would obey, nor any sign that it does not have."""
    plain = words.printable(line.plain)
    if ascii_:
        plain = plain.translate(_ASCII).encode("ascii", "replace").decode()
    return Text(plain, style=line.style, spans=line.spans)


def _accounts(known: Status, tongue: Tongue, width: int, names: Mapping[str, str]) -> Iterator[Text]:
    alerts = _firing(known)
    grids: list[list[list[Text]]] = []
    widths: list[int] = []
    layout = _LAYOUTS[0]
    for layout in _LAYOUTS:
        grids = [
            [
                _cells(window, label, tongue, layout, marks)
                for window, label, marks in zip(account.windows, _labels(account, layout.label), each, strict=True)
            ]
            for account, each in zip(known.providers, alerts, strict=True)
        ]
        widths = _widths(grids, layout.bar)
        if sum(wide + len(_GAP) for wide in widths if wide) <= width:
            break
    for account, grid in zip(known.providers, grids, strict=True):
        yield from _heading(account, tongue, width, names, polled=known.daemon_running)
        for window, cells in zip(account.windows, grid, strict=True):
            yield _row(cells, widths, width)
            if (more := _below(window, tongue, layout)) is not None:
                yield more
        yield Text()


def _firing(known: Status) -> list[list[Marks]]:
    """For each window of each account: the rules that fire on it, with their severity."""
    found: dict[str, list[tuple[str, str]]] = {}
    for alert in known.alerts:
        if alert.state == "firing":
            found.setdefault(alert.series, []).append((alert.rule, alert.severity or "warning"))
    return [
        [
            [mark for spelled in words.spellings(account, window) for mark in found.get(spelled, ())]
            for window in account.windows
        ]
        for account in known.providers
    ]


def _heading(
    account: AccountStatus, tongue: Tongue, width: int, names: Mapping[str, str], *, polled: bool
) -> Iterator[Text]:
    name = Text(names.get(account.provider, account.provider), style="bold")
    for part in (account.account, account.plan):
        if part:
            name.append(f" · {part}", style="not bold")
    fresh = Text(tongue.freshness(account, polled=polled, why=True), style="yellow" if account.stale else "dim")
    if len(name) + len(_GAP) + len(fresh) > width:
        fresh = Text(tongue.freshness(account, polled=polled, why=False), style=fresh.style)
    room = width - len(name) - len(fresh)
    if room >= len(_GAP):
        yield Text.assemble(name, " " * room, fresh)
    else:
        yield name
        yield Text.assemble(_GAP, fresh)
    if account.error is not None:
        yield Text(_GAP + tongue.problem(account, again=False), style="red")
    if account.note:
        yield Text(_GAP + account.note, style="dim")


def _cells(window: Window, label: str, tongue: Tongue, layout: Layout, alerts: Marks) -> list[Text]:
    """Label, bar, percent, pace, left, reset, alerts: each padded by the row."""
    style = _style(window, alerts)
    reset = "" if layout.apart else _reset(window, tongue, layout)
    pace = words.pace(window)
    return [
        Text(label),
        _bar(window, layout.bar, style),
        Text(_percent(window) + ("!" if alerts else ""), style=style),
        Text(pace.partition(",")[0] if layout.below else pace, style="yellow" if window.pace == "ahead" else "dim"),
        Text("" if layout.below or _is_amount(window) else words.left(window)),
        Text(reset, style="dim" if _unsure(window) else ""),
        Text(", ".join(rule for rule, _ in alerts) if layout.rules else "", style=style),
    ]


def _reset(window: Window, tongue: Tongue, layout: Layout) -> str:
    """When it resets, and how far the reading is to be believed."""
    reset = tongue.reset(window)
    if not layout.long:
        reset = reset.removeprefix("resets ").replace("reset was due at", "was due")
    return reset + _unsure(window)


def _unsure(window: Window) -> str:
    return " (not confirmed yet)" if window.unconfirmed else " (old)" if window.stale else ""


def _below(window: Window, tongue: Tongue, layout: Layout) -> Text | None:
    """What a narrow row has no room for."""
    if not layout.below:
        return None
    projected = words.pace(window).partition(", ")[2]
    reset = _reset(window, tongue, layout).strip() if layout.apart else ""
    parts = [reset, "" if _is_amount(window) else words.left(window), projected]
    text = ", ".join(part for part in parts if part)
    return Text(f"{_GAP}  {text}", style="dim") if text else None


def _percent(window: Window) -> str:
    if window.unlimited or _is_amount(window):
        return ""
    return (words.percent(window) or "?").rjust(6)


def _is_amount(window: Window) -> bool:
    """Whether the window is an amount without a percent: money, credits."""
    return window.used_percent is None and bool(words.left(window))


def _style(window: Window, alerts: Marks) -> str:
    for severity in ("critical", "warning", "info"):
        if any(each == severity for _, each in alerts):
            return _STYLES[severity]
    used = window.used_percent
    if used is None or window.unlimited:
        return "dim"
    return "red" if used >= _NEARLY else "yellow" if used >= _MUCH else "green"


def _bar(window: Window, size: int, style: str) -> Text:
    if window.unlimited:
        return Text("unlimited", style="dim")
    if window.used_percent is None:
        return Text(words.left(window))
    full = round(min(max(window.used_percent, 0.0), _FULL) / _FULL * size)
    if 0 < window.used_percent < _FULL:
        full = min(max(full, 1), size - 1)  # neither untouched nor used up, and a bar must not say so
    return Text.assemble(("█" * full, style), ("░" * (size - full), "dim"))


def _labels(account: AccountStatus, most: int) -> list[str]:
    """The windows' names, cut off at the end, or in the middle where two would read alike."""
    whole = [window.label or window.window for window in account.windows]
    cut = [text if len(text) <= most else text[: most - 1] + "…" for text in whole]
    head = (most - 1) // 3
    return [
        f"{text[:head]}…{text[head + 1 - most :]}" if len(text) > most and cut.count(short) > 1 else short
        for text, short in zip(whole, cut, strict=True)
    ]


def _widths(grids: Sequence[Sequence[Sequence[Text]]], bar: int) -> list[int]:
    """How wide each column must be; 0 for one that is empty everywhere. An amount in a bar's place may run over it."""
    rows = [cells for grid in grids for cells in grid]
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    return [widths[0], bar, *widths[2:]] if widths else []


def _row(cells: Sequence[Text], widths: Sequence[int], width: int) -> Text:
    line, start = Text(), 0
    for cell, wide in zip(cells, widths, strict=True):
        if wide:
            start += len(_GAP)
            if cell.plain.strip():
                line.append(" " * max(start - line.cell_len, 1))
                line.append_text(cell)
            start += wide
    line.truncate(width, overflow="crop")
    return line


def _rest(known: Status, tongue: Tongue) -> Iterator[Text]:
    for alert in known.alerts:
        yield Text(tongue.alert(alert), style=_STYLES.get(alert.severity or "", "dim"))
    for alert in known.waiting:
        yield Text(tongue.waiting(alert), style="dim")
    for snooze in known.snoozes:
        yield Text(tongue.snooze(snooze), style="dim")
    for trouble in tongue.troubles(known):
        yield Text(trouble, style="red")
    yield Text(tongue.watching(known), style="dim" if known.daemon_running else "yellow")
