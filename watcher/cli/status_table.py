"""The table of `watcher status` and `watcher check`, for any width, with or without colour, in UTF-8 or ASCII.

Pure: a document goes in, lines of styled text come out. Names and bars share the space that the other columns
leave; where that is too little, resets move to a second line.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence

from rich.text import Text

from watcher.cli import status_text
from watcher.cli.output import wrap_line
from watcher.cli.status_text import StatusFormatter
from watcher.core.formatting import format_amount
from watcher.status.document import AccountStatus, StatusDocument, WindowStatus

_STYLES = {"critical": "bold red", "warning": "yellow", "info": "cyan"}

_GAP = "  "
_FULL_PERCENT, _NEARLY_FULL_PERCENT, _HIGH_PERCENT = 100.0, 95.0, 80.0
_ASCII_TRANSLATION = str.maketrans({"·": "-", "█": "#", "░": ".", "▏": "|", "…": "~", "—": "-"})
_MAX_LABEL_WIDTH, _BAR_WIDTHS = 40, (4, 30)
"""Most columns of names, which are cut off; least and most columns of bars."""
_MIN_LABEL_WIDTHS = {False: 16, True: 10}
"""Whether resets are in a second line -> least columns of names."""


def render_status_table(  # noqa: PLR0913 - all that it depends on
    document: StatusDocument,
    formatter: StatusFormatter,
    width: int,
    *,
    empty_message: str = "",
    ascii_only: bool,
    wrap: bool = False,
    show_daemon: bool = True,
) -> list[Text]:
    """The lines of the table.

    Args:
        document: the document.
        formatter: of this instant.
        width: of the terminal, in columns.
        empty_message: what to say where there is no account.
        ascii_only: the terminal has no other characters.
        wrap: break long sentences at the width; for a program that reads line by line, do not.
        show_daemon: end with whether the daemon runs.
    """
    lines = list(_render_accounts(document, formatter, width))
    if empty_message and not document.providers:
        lines.append(Text(empty_message))
    lines += _render_footer(document, formatter, show_daemon=show_daemon)
    if wrap:
        lines = [part for line in lines for part in _wrap_line(line, width)]
    return [_sanitize_line(line, ascii_only=ascii_only) for line in lines]


def _wrap_line(line: Text, width: int) -> list[Text]:
    """A sentence that is too long, broken at its words; a row of columns never is."""
    if line.cell_len <= width or line.spans:
        return [line]
    indent = len(line.plain) - len(line.plain.lstrip()) + len(_GAP)
    parts = [piece for part in line.plain.split("\n") for piece in wrap_line(part, width, indent=indent) or [""]]
    return [Text(part, style=line.style) for part in parts]


def _sanitize_line(line: Text, *, ascii_only: bool) -> Text:
    """The line without control characters, and in characters that the terminal has."""
    plain = status_text.replace_unprintable(line.plain)
    if ascii_only:
        plain = plain.translate(_ASCII_TRANSLATION).encode("ascii", "replace").decode()
    return Text(plain, style=line.style, spans=line.spans)


def _render_accounts(document: StatusDocument, formatter: StatusFormatter, width: int) -> Iterator[Text]:
    firing = _find_firing_severities(document)
    reset_below, widths = _choose_widths(document, firing, formatter, width)
    for account in document.providers:
        yield from _render_heading(account, formatter, width, is_polled=document.daemon_running)
        for window in account.windows:
            severities = firing.get(window.series, set())
            label = _shorten_label(window.label or window.window, widths[0])
            bar = _render_bar(window, widths[1], _choose_style(window, severities))
            cells = [Text(label), bar, *_render_facts(window, formatter, severities, reset_below=reset_below)]
            yield _render_row(cells, widths, width)
            if (more := _render_second_line(window, formatter, reset_below=reset_below)) is not None:
                yield more
        yield Text()


def _choose_widths(
    document: StatusDocument, firing: Mapping[str, Collection[str]], formatter: StatusFormatter, width: int
) -> tuple[bool, list[int]]:
    """Whether the reset is in a second line, and the widths of the columns; 0: empty in every row."""
    windows = [window for account in document.providers for window in account.windows]
    longest = max((len(window.label or window.window) for window in windows), default=0)
    reset_below, label_width, bar_width, widths = False, 0, 0, [0]
    for reset_below, min_label in _MIN_LABEL_WIDTHS.items():
        rows = [
            _render_facts(window, formatter, firing.get(window.series, set()), reset_below=reset_below)
            for window in windows
        ]
        widths = [max(cell.cell_len for cell in column) for column in zip(*rows, strict=True)]
        room = width - sum(len(_GAP) + each for each in widths if each) - 2 * len(_GAP)
        min_bar, max_bar = _BAR_WIDTHS
        label_width = min(longest, _MAX_LABEL_WIDTH, max(room - min_bar, min_label))
        bar_width = max(min(max_bar, room - label_width), min_bar)
        if label_width + bar_width <= room:
            break
    return reset_below, [label_width, bar_width, *widths]


def _find_firing_severities(document: StatusDocument) -> dict[str, set[str]]:
    """Series -> the severities of the rules that fire on it."""
    found: dict[str, set[str]] = {}
    for alert in document.alerts:
        if alert.state == "firing":
            found.setdefault(alert.series, set()).add(alert.severity or "warning")
    return found


def _render_heading(
    account: AccountStatus,
    formatter: StatusFormatter,
    width: int,
    *,
    is_polled: bool,
) -> Iterator[Text]:
    name = Text(account.provider_name or account.provider, style="bold")
    for part in (account.account, account.plan):
        if part:
            name.append(f" · {part}", style="not bold")
    fresh = Text(formatter.format_freshness(account, is_polled=is_polled), style="yellow" if account.stale else "dim")
    room = width - len(name) - len(fresh)
    if room >= len(_GAP):
        yield Text.assemble(name, " " * room, fresh)
    else:
        yield name
        yield Text.assemble(_GAP, fresh)
    if account.error is not None:
        yield Text(_GAP + formatter.format_problem(account), style="red")
    if account.note:
        yield Text(_GAP + account.note, style="dim")


def _render_facts(
    window: WindowStatus, formatter: StatusFormatter, severities: Collection[str], *, reset_below: bool
) -> list[Text]:
    """Percent, pace, reset."""
    percent = "" if window.unlimited or _is_amount(window) else status_text.format_used_percent(window) or "?"
    pace = status_text.format_pace(window).partition(",")[0]
    return [
        Text(
            (percent.rjust(6) if percent else "") + ("!" if severities else ""),
            style=_choose_style(window, severities),
        ),
        Text(pace, style="yellow" if window.pace == "ahead" else "dim"),
        Text(
            "" if reset_below else _format_reset(window, formatter), style="dim" if _format_uncertainty(window) else ""
        ),
    ]


def _render_second_line(window: WindowStatus, formatter: StatusFormatter, *, reset_below: bool) -> Text | None:
    """What the row has no room for: the reset, the amount left, the projection."""
    projected = status_text.format_pace(window).partition(", ")[2]
    reset = _format_reset(window, formatter).strip() if reset_below else ""
    text = ", ".join(part for part in (reset, _format_amount_left(window), projected) if part)
    return Text(f"{_GAP}{_GAP}{text}", style="dim") if text else None


def _format_reset(window: WindowStatus, formatter: StatusFormatter) -> str:
    """When the window resets, and whether its reading is uncertain."""
    reset = formatter.format_reset(window).removeprefix("resets ").replace("reset was due at", "was due")
    return reset + _format_uncertainty(window)


def _format_uncertainty(window: WindowStatus) -> str:
    return " (not confirmed yet)" if window.unconfirmed else " (old)" if window.stale else ""


def _format_amount_left(window: WindowStatus) -> str:
    """The amount, where the bar does not show it already."""
    return "" if _is_amount(window) else status_text.format_remaining_amount(window)


def _is_amount(window: WindowStatus) -> bool:
    """Whether the window is something without a percent: money, credits, a model that is blocked or not."""
    return window.used_percent is None and bool(_format_amount(window))


def _format_amount(window: WindowStatus) -> str:
    words: dict[bool | None, str] = {True: "blocked", False: "not blocked"}
    used = "" if window.used is None or window.limit is not None else f"{format_amount(window.used, window.unit)} used"
    return status_text.format_remaining_amount(window) or used or words.get(window.blocked, "")


def _choose_style(window: WindowStatus, severities: Collection[str]) -> str:
    for severity, style in _STYLES.items():
        if severity in severities:
            return style
    used = window.used_percent
    if used is None or window.unlimited:
        return "dim"
    return "red" if used >= _NEARLY_FULL_PERCENT else "yellow" if used >= _HIGH_PERCENT else "green"


def _render_bar(window: WindowStatus, bar_width: int, style: str) -> Text:
    if window.unlimited:
        return Text("unlimited", style="dim")
    if window.used_percent is None:
        return Text(_format_amount(window))
    full = round(min(max(window.used_percent, 0.0), _FULL_PERCENT) / _FULL_PERCENT * bar_width)
    if 0 < window.used_percent < _FULL_PERCENT:
        full = min(max(full, 1), bar_width - 1)  # neither untouched nor used up, and the bar must not say so
    return Text.assemble(("█" * full, style), ("░" * (bar_width - full), "dim"))


def _shorten_label(text: str, max_width: int) -> str:
    """A window's name, without the word `window` or cut in the middle: the ends tell similar names apart."""
    if len(text) > max_width:
        text = text.removesuffix(" window")
    head = (max_width - 1) // 3
    return text if len(text) <= max_width else f"{text[:head]}…{text[head + 1 - max_width :]}"


def _render_row(cells: Sequence[Text], column_widths: Sequence[int], width: int) -> Text:
    line, start = Text(), 0
    for cell, column_width in zip(cells, column_widths, strict=True):
        if column_width:
            start += len(_GAP)
            if cell.plain.strip():
                line.append(" " * max(start - line.cell_len, 1))
                line.append_text(cell)
            start += column_width
    line.truncate(width, overflow="crop")
    return line


def _render_footer(document: StatusDocument, formatter: StatusFormatter, *, show_daemon: bool) -> Iterator[Text]:
    for alert in document.alerts:
        yield Text(formatter.format_alert(alert), style=_STYLES.get(alert.severity or "", "dim"))
    for snooze in document.snoozes:
        yield Text(formatter.format_snooze(snooze), style="dim")
    for receiver in document.alertmanagers:
        if receiver.delivered:
            yield Text(formatter.format_alertmanager(receiver), style="dim")
    for problem in formatter.list_problems(document):
        yield Text(problem, style="red")
    if show_daemon:
        yield Text(formatter.format_daemon_state(document), style="dim" if document.daemon_running else "yellow")
