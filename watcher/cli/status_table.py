"""The table of `watcher status`, for any width, with or without colour, in UTF-8 or ASCII.

Pure: a document goes in, lines of styled text come out; the command prints them. The columns are as wide as their
widest cell; what does not fit is left out in the order of `_LAYOUTS`. Never put words here that `check` needs too.
"""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from rich.text import Text

from watcher.cli import format
from watcher.cli.format import StatusFormatter
from watcher.status.document import AccountStatus, StatusDocument, WindowStatus

_STYLES = {"info": "cyan", "warning": "yellow", "critical": "bold red"}
FiringRules = Sequence[tuple[str, str]]
"""Rules that fire, each with its severity."""

_COLUMN_GAP = "  "
_FULL_PERCENT, _NEARLY_FULL_PERCENT, _HIGH_PERCENT = 100.0, 95.0, 80.0
_ASCII_TRANSLATION = str.maketrans({"·": "-", "█": "#", "░": ".", "▏": "|", "…": "~", "—": "-"})


class Layout(NamedTuple):
    """What is shown of a window in a given width."""

    bar_width: int  # columns
    label_width: int  # at most
    two_lines: bool = False  # what is left, and where it will end, in a line of its own
    full_reset_text: bool = True  # resets with the word
    reset_on_second_line: bool = False  # the reset is below, too
    show_rules: bool = True  # names of the alerts that fire


_LAYOUTS = (
    Layout(bar_width=30, label_width=40),
    Layout(bar_width=20, label_width=32),
    Layout(bar_width=12, label_width=26, show_rules=False),
    Layout(bar_width=14, label_width=28, show_rules=False, two_lines=True),
    Layout(bar_width=10, label_width=24, show_rules=False, two_lines=True, full_reset_text=False),
    Layout(bar_width=8, label_width=20, show_rules=False, two_lines=True, full_reset_text=False),
    Layout(
        bar_width=4, label_width=20, show_rules=False, two_lines=True, full_reset_text=False
    ),  # a name is worth more than a finer bar
    Layout(bar_width=6, label_width=16, show_rules=False, two_lines=True, full_reset_text=False),
    Layout(bar_width=2, label_width=12, show_rules=False, two_lines=True, full_reset_text=False),
    Layout(
        bar_width=8, label_width=20, show_rules=False, two_lines=True, full_reset_text=False, reset_on_second_line=True
    ),
    Layout(
        bar_width=2, label_width=20, show_rules=False, two_lines=True, full_reset_text=False, reset_on_second_line=True
    ),
    Layout(
        bar_width=2, label_width=12, show_rules=False, two_lines=True, full_reset_text=False, reset_on_second_line=True
    ),
)
"""Widest first; the first that fits is taken, else the last, cut off."""


def render_status_table(  # noqa: PLR0913 - all that it depends on
    document: StatusDocument,
    formatter: StatusFormatter,
    width: int,
    *,
    provider_names: Mapping[str, str],
    absent_providers: Sequence[str] = (),
    ascii_only: bool,
    wrap: bool = False,
) -> list[Text]:
    """The lines of the table.

    Args:
        document: the document.
        formatter: of this instant.
        width: of the terminal, in columns.
        provider_names: provider id -> name for people.
        absent_providers: ids of providers without a login, to be named too.
        ascii_only: the terminal has no other signs.
        wrap: break long sentences at the width; left out where a program reads, line by line.
    """
    lines = list(_render_accounts(document, formatter, width, provider_names))
    if absent_providers:
        lines.append(
            Text(f"no login found: {', '.join(provider_names[each] for each in absent_providers)}", style="dim")
        )
    lines += _render_footer(document, formatter)
    if wrap:
        lines = [part for line in lines for part in _wrap_line(line, width)]
    return [_sanitize_line(line, ascii_only=ascii_only) for line in lines]


def _wrap_line(line: Text, width: int) -> list[Text]:
    """A sentence that is too long, at its words; a row of columns never is."""
    if line.cell_len <= width or line.spans:
        return [line]
    indent = " " * (len(line.plain) - len(line.plain.lstrip()) + len(_COLUMN_GAP))
    parts = [
        piece
        for part in line.plain.split("\n")
        for piece in textwrap.wrap(part, width, subsequent_indent=indent, break_long_words=False) or [""]
    ]
    return [Text(part, style=line.style) for part in parts]


def _sanitize_line(line: Text, *, ascii_only: bool) -> Text:
    """The line with nothing in it that a terminal would obey, nor any sign that it does not have."""
    plain = format.replace_unprintable(line.plain)
    if ascii_only:
        plain = plain.translate(_ASCII_TRANSLATION).encode("ascii", "replace").decode()
    return Text(plain, style=line.style, spans=line.spans)


def _render_accounts(
    document: StatusDocument, formatter: StatusFormatter, width: int, provider_names: Mapping[str, str]
) -> Iterator[Text]:
    alerts = _find_firing_rules(document)
    grids: list[list[list[Text]]] = []
    widths: list[int] = []
    layout = _LAYOUTS[0]
    for layout in _LAYOUTS:
        grids = [
            [
                _render_cells(window, label, formatter, layout, marks)
                for window, label, marks in zip(
                    account.windows, _shorten_labels(account, layout.label_width), each, strict=True
                )
            ]
            for account, each in zip(document.providers, alerts, strict=True)
        ]
        widths = _compute_column_widths(grids, layout.bar_width)
        if sum(wide + len(_COLUMN_GAP) for wide in widths if wide) <= width:
            break
    for account, grid in zip(document.providers, grids, strict=True):
        yield from _render_heading(account, formatter, width, provider_names, is_polled=document.daemon_running)
        for window, cells in zip(account.windows, grid, strict=True):
            yield _render_row(cells, widths, width)
            if (more := _render_second_line(window, formatter, layout)) is not None:
                yield more
        yield Text()


def _find_firing_rules(document: StatusDocument) -> list[list[FiringRules]]:
    """For each window of each account: the rules that fire on it, with their severity."""
    found: dict[str, list[tuple[str, str]]] = {}
    for alert in document.alerts:
        if alert.state == "firing":
            found.setdefault(alert.series, []).append((alert.rule, alert.severity or "warning"))
    return [
        [
            [mark for spelled in format.list_series_spellings(account, window) for mark in found.get(spelled, ())]
            for window in account.windows
        ]
        for account in document.providers
    ]


def _render_heading(
    account: AccountStatus,
    formatter: StatusFormatter,
    width: int,
    provider_names: Mapping[str, str],
    *,
    is_polled: bool,
) -> Iterator[Text]:
    name = Text(provider_names.get(account.provider, account.provider), style="bold")
    for part in (account.account, account.plan):
        if part:
            name.append(f" · {part}", style="not bold")
    fresh = Text(
        formatter.format_freshness(account, is_polled=is_polled, include_reason=True),
        style="yellow" if account.stale else "dim",
    )
    if len(name) + len(_COLUMN_GAP) + len(fresh) > width:
        fresh = Text(formatter.format_freshness(account, is_polled=is_polled, include_reason=False), style=fresh.style)
    room = width - len(name) - len(fresh)
    if room >= len(_COLUMN_GAP):
        yield Text.assemble(name, " " * room, fresh)
    else:
        yield name
        yield Text.assemble(_COLUMN_GAP, fresh)
    if account.error is not None:
        yield Text(_COLUMN_GAP + formatter.format_problem(account, include_retry=False), style="red")
    if account.note:
        yield Text(_COLUMN_GAP + account.note, style="dim")


def _render_cells(
    window: WindowStatus, label: str, formatter: StatusFormatter, layout: Layout, firing_rules: FiringRules
) -> list[Text]:
    """Label, bar, percent, pace, left, reset, alerts: each padded by the row."""
    style = _choose_style(window, firing_rules)
    reset = "" if layout.reset_on_second_line else _format_reset(window, formatter, layout)
    pace = format.format_pace(window)
    return [
        Text(label),
        _render_bar(window, layout.bar_width, style),
        Text(_format_percent(window) + ("!" if firing_rules else ""), style=style),
        Text(pace.partition(",")[0] if layout.two_lines else pace, style="yellow" if window.pace == "ahead" else "dim"),
        Text("" if layout.two_lines or _is_amount(window) else format.format_remaining_amount(window)),
        Text(reset, style="dim" if _format_uncertainty(window) else ""),
        Text(", ".join(rule for rule, _ in firing_rules) if layout.show_rules else "", style=style),
    ]


def _format_reset(window: WindowStatus, formatter: StatusFormatter, layout: Layout) -> str:
    """When it resets, and how far the reading is to be believed."""
    reset = formatter.format_reset(window)
    if not layout.full_reset_text:
        reset = reset.removeprefix("resets ").replace("reset was due at", "was due")
    return reset + _format_uncertainty(window)


def _format_uncertainty(window: WindowStatus) -> str:
    return " (not confirmed yet)" if window.unconfirmed else " (old)" if window.stale else ""


def _render_second_line(window: WindowStatus, formatter: StatusFormatter, layout: Layout) -> Text | None:
    """What a narrow row has no room for."""
    if not layout.two_lines:
        return None
    projected = format.format_pace(window).partition(", ")[2]
    reset = _format_reset(window, formatter, layout).strip() if layout.reset_on_second_line else ""
    parts = [reset, "" if _is_amount(window) else format.format_remaining_amount(window), projected]
    text = ", ".join(part for part in parts if part)
    return Text(f"{_COLUMN_GAP}  {text}", style="dim") if text else None


def _format_percent(window: WindowStatus) -> str:
    if window.unlimited or _is_amount(window):
        return ""
    return (format.format_used_percent(window) or "?").rjust(6)


def _is_amount(window: WindowStatus) -> bool:
    """Whether the window is an amount without a percent: money, credits."""
    return window.used_percent is None and bool(format.format_remaining_amount(window))


def _choose_style(window: WindowStatus, firing_rules: FiringRules) -> str:
    for severity in ("critical", "warning", "info"):
        if any(each == severity for _, each in firing_rules):
            return _STYLES[severity]
    used = window.used_percent
    if used is None or window.unlimited:
        return "dim"
    return "red" if used >= _NEARLY_FULL_PERCENT else "yellow" if used >= _HIGH_PERCENT else "green"


def _render_bar(window: WindowStatus, bar_width: int, style: str) -> Text:
    if window.unlimited:
        return Text("unlimited", style="dim")
    if window.used_percent is None:
        return Text(format.format_remaining_amount(window))
    full = round(min(max(window.used_percent, 0.0), _FULL_PERCENT) / _FULL_PERCENT * bar_width)
    if 0 < window.used_percent < _FULL_PERCENT:
        full = min(max(full, 1), bar_width - 1)  # neither untouched nor used up, and a bar must not say so
    return Text.assemble(("█" * full, style), ("░" * (bar_width - full), "dim"))


def _shorten_labels(account: AccountStatus, max_width: int) -> list[str]:
    """The windows' names, cut off at the end, or in the middle where two would read alike."""
    whole = [window.label or window.window for window in account.windows]
    cut = [text if len(text) <= max_width else text[: max_width - 1] + "…" for text in whole]
    head = (max_width - 1) // 3
    return [
        f"{text[:head]}…{text[head + 1 - max_width :]}" if len(text) > max_width and cut.count(short) > 1 else short
        for text, short in zip(whole, cut, strict=True)
    ]


def _compute_column_widths(grids: Sequence[Sequence[Sequence[Text]]], bar_width: int) -> list[int]:
    """How wide each column must be; 0 for one that is empty everywhere. An amount in a bar's place may run over it."""
    rows = [cells for grid in grids for cells in grid]
    widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
    return [widths[0], bar_width, *widths[2:]] if widths else []


def _render_row(cells: Sequence[Text], column_widths: Sequence[int], width: int) -> Text:
    line, start = Text(), 0
    for cell, wide in zip(cells, column_widths, strict=True):
        if wide:
            start += len(_COLUMN_GAP)
            if cell.plain.strip():
                line.append(" " * max(start - line.cell_len, 1))
                line.append_text(cell)
            start += wide
    line.truncate(width, overflow="crop")
    return line


def _render_footer(document: StatusDocument, formatter: StatusFormatter) -> Iterator[Text]:
    for alert in document.alerts:
        yield Text(formatter.format_alert(alert), style=_STYLES.get(alert.severity or "", "dim"))
    for alert in document.waiting:
        yield Text(formatter.format_waiting(alert), style="dim")
    for snooze in document.snoozes:
        yield Text(formatter.format_snooze(snooze), style="dim")
    for trouble in formatter.list_problems(document):
        yield Text(trouble, style="red")
    yield Text(formatter.format_daemon_state(document), style="dim" if document.daemon_running else "yellow")
