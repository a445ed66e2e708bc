"""A picture of usage over time as SVG: small, self-contained, readable without seeing it.

A panel for each series: the course with a gap where nothing was read, resets as dotted lines, thresholds of the rules
in force as dashed ones, and a mark where an alert changed: a triangle where it fires, a ring where it is over. Every
text from outside is escaped here. What a colour says is also said by a shape or a word.
"""

from collections.abc import Iterator, Sequence
from enum import StrEnum
from html import escape
from itertools import groupby

from watcher.cli.charts import (
    AlertMarker,
    TimeRange,
    Track,
    compute_ticks,
    format_date,
    format_timestamp,
    summarize_track,
)
from watcher.core import formatting
from watcher.core.engine.thresholds import ThresholdLine
from watcher.core.model import AlertEvent

WIDTH = 900
PANEL_HEIGHT = 172
HEADER_HEIGHT = 62
FOOTER_HEIGHT = 44
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_TOP, MARGIN_BOTTOM = 52, 84, 34, 24
_MIN_LABEL_DISTANCE = 11.0  # least distance of two labels of thresholds
_MAX_RESET_LINES = 40  # more would hide the course


# --- colours --------------------------------------------------------------------------------------------------------

FONT_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


class Theme(StrEnum):
    """How a picture is coloured."""

    AUTO = "auto"  # as the viewer's system is set
    LIGHT = "light"
    DARK = "dark"


LIGHT_COLOURS = {
    "paper": "#ffffff",
    "card": "#f6f8fa",
    "ink": "#1f2328",
    "muted": "#59636e",
    "rule": "#d1d9e0",
    "line": "#0969da",
    "info": "#0e7490",
    "warning": "#9a6700",
    "critical": "#cf222e",
    "ok": "#1a7f37",
}
DARK_COLOURS = {
    "paper": "#0d1117",
    "card": "#161b22",
    "ink": "#e6edf3",
    "muted": "#9ba4ae",
    "rule": "#30363d",
    "line": "#58a6ff",
    "info": "#39c5cf",
    "warning": "#d29922",
    "critical": "#ff7b72",
    "ok": "#3fb950",
}
_SEVERITIES = ("info", "warning", "critical")


def make_chart_css(theme: Theme) -> str:
    """The style rules of `.usage-chart`, for an SVG that stands alone or for a page that holds several."""
    if theme is not Theme.AUTO:
        return _make_theme_css(LIGHT_COLOURS if theme is Theme.LIGHT else DARK_COLOURS)
    return f"{_make_theme_css(LIGHT_COLOURS)}@media(prefers-color-scheme:dark){{{_make_theme_css(DARK_COLOURS)}}}"


def _make_theme_css(colours: dict[str, str]) -> str:
    """Written out without variables: converters to PNG know classes, and no `var()`."""
    parts = {
        ".paper": f"fill:{colours['paper']}",
        ".ink": f"fill:{colours['ink']}",
        ".muted": f"fill:{colours['muted']}",
        ".grid": f"stroke:{colours['rule']}",
        ".turn": f"stroke:{colours['muted']};stroke-opacity:.55",
        ".course": f"stroke:{colours['line']};fill:none",
        ".under": f"fill:{colours['line']};fill-opacity:.13",
        ".dot": f"fill:{colours['line']}",
        **{f".limit.{name}": f"stroke:{colours[name]}" for name in _SEVERITIES},
        **{f".word.{name}": f"fill:{colours[name]}" for name in _SEVERITIES},
        **{f".mark.{name}": f"fill:{colours[name]};stroke:{colours['paper']}" for name in _SEVERITIES},
        ".mark.resolved": f"fill:{colours['paper']};stroke:{colours['ok']}",
    }
    return "".join(f".usage-chart {name}{{{style}}}" for name, style in parts.items())


# --- the pictures ---------------------------------------------------------------------------------------------------


def render_svg(tracks: Sequence[Track], time_range: TimeRange, *, theme: Theme, title: str) -> str:
    """The whole picture as a document of its own."""
    height = HEADER_HEIGHT + PANEL_HEIGHT * len(tracks) + FOOTER_HEIGHT
    description = "; ".join(f"{track.name}: {summarize_track(track)}" for track in tracks)
    start, end = (format_date(at, time_range.tz) for at in (time_range.start, time_range.end))
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="usage-chart" viewBox="0 0 {WIDTH} {height}"',
        f' width="{WIDTH}" height="{height}" role="img" aria-labelledby="usage-title usage-words">',
        f'<title id="usage-title">{escape_text(title)}</title>',
        f'<desc id="usage-words">{escape_text(description)}</desc>',
        f"<style>{_make_font_css()}{make_chart_css(theme)}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="10"/>',
        f'<text class="ink" x="24" y="34" font-size="19" font-weight="600">{escape_text(title)}</text>',
        f'<text class="muted" x="24" y="53" font-size="12">{escape_text(start)} to {escape_text(end)}</text>',
    ]
    for index, track in enumerate(tracks):
        body.append(f'<g transform="translate(0 {HEADER_HEIGHT + PANEL_HEIGHT * index})">')
        body += _draw_panel(track, time_range, PANEL_HEIGHT, heading=True)
        body.append("</g>")
    body += _draw_legend(height - 18, tracks)
    return "\n".join([*body, "</svg>", ""])


def render_panel(track: Track, time_range: TimeRange, *, height: int = 168) -> str:
    """One series without frame, heading and colours: for a page that has them."""
    label = escape_text(f"{track.name}: {summarize_track(track)}")
    return "\n".join(
        [
            f'<svg class="usage-chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">',
            *_draw_panel(track, time_range, height, heading=False),
            "</svg>",
        ]
    )


def _make_font_css() -> str:
    return f".usage-chart text{{font-family:{FONT_FAMILY}}}"


def escape_text(text: str) -> str:
    """Escaped for text and attributes, without control characters and changes of the writing direction."""
    return escape("".join(each for each in text if each.isprintable()), quote=True)


# --- a panel --------------------------------------------------------------------------------------------------------


class _PanelScale:
    """Where on the panel an instant and a value are."""

    def __init__(self, track: Track, time_range: TimeRange, height: int, top_margin: int) -> None:
        self.time_range = time_range
        self.y0, self.y1 = float(height - MARGIN_BOTTOM), float(top_margin)
        self.low, self.high = track.scale_min, track.scale_max

    def x(self, fraction: float) -> float:
        return round(MARGIN_LEFT + fraction * (WIDTH - MARGIN_LEFT - MARGIN_RIGHT), 1)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.y0 + share * (self.y1 - self.y0), 1)


def _draw_panel(track: Track, time_range: TimeRange, height: int, *, heading: bool) -> Iterator[str]:
    frame = _PanelScale(track, time_range, height, MARGIN_TOP if heading else 12)
    if heading:
        yield f'<text class="ink" x="24" y="20" font-size="14" font-weight="600">{escape_text(track.name)}</text>'
        summary = escape_text(summarize_track(track))
        yield f'<text class="muted" x="{WIDTH - 24}" y="20" font-size="12" text-anchor="end">{summary}</text>'
    yield from _draw_grid(track, frame)
    yield from _draw_resets(track, frame)
    yield from _draw_thresholds(track, frame)
    yield from _draw_usage(track, frame)
    for marker in track.alert_markers:
        if time_range.start <= marker.at <= time_range.end:
            yield _draw_alert_marker(marker, track, frame)


def _draw_grid(track: Track, scale: _PanelScale) -> Iterator[str]:
    left, right = scale.x(0), scale.x(1)
    if track.is_in_percent:
        values = [value for value in (0.0, 50.0, 100.0) if value <= scale.high]
    else:
        values = sorted({scale.low, 0.0, scale.high / 1.1})
    for value in values:
        y = scale.y(value)
        label = escape_text(f"{value:.0f} %" if track.is_in_percent else formatting.format_number(round(value, 2)))
        yield f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
        yield f'<text class="muted" x="{left - 8}" y="{y + 4}" font-size="11" text-anchor="end">{label}</text>'
    for at, label in compute_ticks(scale.time_range, 8):
        x = scale.x(scale.time_range.fraction_at(at))
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{scale.y0}" y2="{scale.y0 + 4}"/>'
        if x < right - 20:
            yield f'<text class="muted" x="{x}" y="{scale.y0 + 16}" font-size="11">{escape_text(label)}</text>'


def _draw_resets(track: Track, scale: _PanelScale) -> Iterator[str]:
    time_range = scale.time_range
    shown = [each for each in track.usage_history.periods if time_range.start <= each.ended_at <= time_range.end]
    top = scale.y1 if len(shown) <= _MAX_RESET_LINES else scale.y0 - 8
    for period in shown:
        x = scale.x(time_range.fraction_at(period.ended_at))
        spent = "unknown" if period.used_percent is None else formatting.format_percent(period.used_percent)
        at = format_timestamp(period.ended_at, time_range.tz) + (", early" if period.ended_early else "")
        yield (
            f'<line class="turn" x1="{x}" x2="{x}" y1="{top}" y2="{scale.y0}" stroke-dasharray="1 3">'
            f"<title>{escape_text(f'reset {at}; spent before it: {spent}')}</title></line>"
        )


def _draw_thresholds(track: Track, scale: _PanelScale) -> Iterator[str]:
    """One line for each height, with its label beside it."""
    left, right = scale.x(0), scale.x(1)
    lines = [line for line in _keep_highest_severity(track.threshold_lines) if scale.low <= line.value <= scale.high]
    heights = [scale.y(line.value) for line in lines]
    for line, y, label_y in zip(lines, heights, _spread_labels(heights, scale.y1), strict=True):
        title = f"{line.rule}: {line.severity} at {track.format_value(line.value)}"
        yield (
            f'<line class="limit {line.severity}" x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke-dasharray="6 4">'
            f"<title>{escape_text(title)}</title></line>"
        )
        yield (
            f'<text class="word {line.severity}" x="{right + 6}" y="{label_y + 4:g}" font-size="11">'
            f"{escape_text(track.format_value(line.value))}</text>"
        )


def _spread_labels(heights: Sequence[float], top: float) -> list[float]:
    """Heights of labels, lowest first, moved up so that none covers another, and down again from the panel's top."""
    moved: list[float] = []
    for y in heights:
        moved.append(min(y, moved[-1] - _MIN_LABEL_DISTANCE) if moved else y)
    for index in range(len(moved) - 1, -1, -1):
        above = moved[index + 1] + _MIN_LABEL_DISTANCE if index + 1 < len(moved) else top
        moved[index] = max(moved[index], above)
    return moved


def _keep_highest_severity(lines: Sequence[ThresholdLine]) -> list[ThresholdLine]:
    worst: dict[float, ThresholdLine] = {}
    for line in lines:
        known = worst.get(line.value)
        if known is None or known.severity.rank < line.severity.rank:
            worst[line.value] = line
    return [worst[value] for value in sorted(worst)]


def _draw_usage(track: Track, scale: _PanelScale) -> Iterator[str]:
    zero = scale.y(0.0)
    for piece in build_segments(track, scale.time_range):
        dots = [(scale.x(share), scale.y(value)) for share, value in downsample(piece, WIDTH)]
        if len(dots) == 1:
            yield f'<circle class="dot" cx="{dots[0][0]}" cy="{dots[0][1]}" r="2"/>'
            continue
        path = "L".join(f"{x:g} {y:g}" for x, y in dots)
        yield f'<path class="under" d="M{dots[0][0]:g} {zero:g}L{path}L{dots[-1][0]:g} {zero:g}Z"/>'
        yield f'<path class="course" d="M{path}" stroke-width="1.8" stroke-linejoin="round"/>'


def _draw_alert_marker(marker: AlertMarker, track: Track, scale: _PanelScale) -> str:
    x = scale.x(scale.time_range.fraction_at(marker.at))
    value = marker.used_percent if track.is_in_percent else marker.remaining
    y = scale.y(scale.high if value is None else value)
    used = "" if value is None else f" at {track.format_value(value)}"
    at = format_timestamp(marker.at, scale.time_range.tz)
    title = f"<title>{escape_text(f'{marker.rule}: {marker.event} ({marker.severity}){used}, {at}')}</title>"
    if marker.is_end:
        return f'<circle class="mark resolved" cx="{x}" cy="{y}" r="4" stroke-width="2">{title}</circle>'
    size = 5 if marker.event is AlertEvent.REMINDER else 7
    return (
        f'<path class="mark {marker.severity}" d="{_make_triangle_path(x, y, size)}" stroke-width="1.5">{title}</path>'
    )


def _make_triangle_path(x: float, y: float, size: float) -> str:
    return f"M{x:g} {y - size:g}L{x + size:g} {y + size * 0.8:g}L{x - size:g} {y + size * 0.8:g}Z"


# --- the legend -----------------------------------------------------------------------------------------------------


def _draw_legend(y: int, tracks: Sequence[Track]) -> Iterator[str]:
    """What the symbols mean; only those that are in the picture."""
    markers = [marker for track in tracks for marker in track.alert_markers]
    severities = {marker.severity for marker in markers if not marker.is_end}
    symbols = [
        (f'<path class="mark {each}" d="{_make_triangle_path(0, -4, 6)}"/>', 12, f"alert, {each}")
        for each in sorted(severities, key=lambda each: each.rank)
    ]
    if any(marker.is_end for marker in markers):
        symbols.append(('<circle class="mark resolved" cx="0" cy="-4" r="4" stroke-width="2"/>', 12, "alert over"))
    if any(track.threshold_lines for track in tracks):
        dashes = '<line class="word limit warning" x1="-4" x2="18" y1="-4" y2="-4" stroke-dasharray="6 4"/>'
        symbols.append((dashes, 24, "threshold of a rule"))
    if any(track.usage_history.periods for track in tracks):
        symbols.append(('<line class="turn" x1="0" x2="0" y1="-11" y2="2" stroke-dasharray="1 3"/>', 8, "reset"))
    x = 32.0
    for symbol, gap, meaning in symbols:
        label = f'<text class="muted" x="{gap}" font-size="11">{meaning}</text>'
        yield f'<g transform="translate({x:g} {y})">{symbol}{label}</g>'
        x += gap + 6.2 * len(meaning) + 26
    yield f'<text class="muted" x="{WIDTH - 24}" y="{y}" font-size="11" text-anchor="end">AI usage watcher</text>'


# --- from readings to lines -----------------------------------------------------------------------------------------

PlotPoint = tuple[float, float]


def build_segments(track: Track, time_range: TimeRange) -> list[list[PlotPoint]]:
    """Pieces of the course as (share of time 0..1, value).

    A piece ends with the episode, at a gap, and where a reading is unknown: what was not read is not drawn.
    """
    pieces: list[list[PlotPoint]] = []
    episode: int | None = None
    for point, value in track.iter_values():
        if not time_range.start <= point.at <= time_range.end:
            continue
        if value is None:
            episode = None
            continue
        if point.after_gap or point.episode != episode or not pieces:
            pieces.append([])
        pieces[-1].append((time_range.fraction_at(point.at), value))
        episode = point.episode
    return pieces


def downsample(segment: Sequence[PlotPoint], columns: int) -> list[PlotPoint]:
    """The same line with no more dots than can be seen: of each column first, lowest, highest and last."""
    kept: list[PlotPoint] = []
    for _, group in groupby(segment, key=lambda dot: int(dot[0] * columns)):
        dots = list(group)
        chosen = {dots[0], dots[-1], min(dots, key=_get_value), max(dots, key=_get_value)}
        kept += sorted(chosen)
    return list(_drop_flat_points(kept))


def _drop_flat_points(points: Sequence[PlotPoint]) -> Iterator[PlotPoint]:
    """Without the dots in the middle of a flat stretch."""
    last = len(points) - 1
    for index, dot in enumerate(points):
        if 0 < index < last and points[index - 1][1] == dot[1] == points[index + 1][1]:
            continue
        yield dot


def _get_value(point: PlotPoint) -> float:
    return point[1]
