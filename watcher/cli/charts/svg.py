"""A picture of usage over time as SVG: small, self-contained, with its content in words for screen readers.

A panel for each series: a line of usage with a gap where nothing was read, resets as dotted lines, thresholds of the
rules in force as dashed lines, and a mark where an alert changed: a triangle where it fires, a ring where it is over.
Every meaning of a colour is also given by a shape or a word.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from html import escape
from string import Template

from watcher.cli.charts import (
    LEGEND,
    TimeRange,
    Track,
    build_segments,
    compute_ticks,
    downsample,
    format_dates,
    format_timestamp,
    summarize_track,
)
from watcher.core import formatting
from watcher.core.engine.thresholds import ThresholdLine
from watcher.core.model import FIRING_EVENTS, AlertEvent

WIDTH = 900
PANEL_HEIGHT, _BARE_PANEL_HEIGHT = 172, 168
HEADER_HEIGHT = 62
FOOTER_HEIGHT = 44
MARGIN_LEFT, MARGIN_RIGHT, MARGIN_BOTTOM = 52, 84, 24
_MIN_LABEL_DISTANCE = 11.0  # of two thresholds
_MAX_RESET_LINES = 40  # more would hide the line of usage


# --- elements and colours -------------------------------------------------------------------------------------------


class Markup(str):
    """SVG or HTML, made by `element` or written in the program: it is not escaped again."""

    __slots__ = ()


def element(tag: str, *content: str, **attributes: object) -> Markup:
    """An element of SVG or HTML, each part of its content on a line.

    Text is escaped and loses its control characters and changes of the writing direction; `Markup` stays as it is.
    In the names of attributes `_` stands for `-`, and a trailing one is dropped: `class_`. Those that are None are left
    out.
    """
    present = {name.rstrip("_").replace("_", "-"): value for name, value in attributes.items() if value is not None}
    start = f"<{tag}" + "".join(f' {name}="{_escape(value)}"' for name, value in present.items())
    if not content:
        return Markup(f"{start}/>")
    inner = "\n".join(each if isinstance(each, Markup) else _escape(each) for each in content)
    return Markup(f"{start}>{inner}</{tag}>")


def _escape(value: object) -> str:
    text = f"{value:g}" if isinstance(value, float) else str(value)
    return escape(text if text.isprintable() else "".join(filter(str.isprintable, text)), quote=True)


_COLOURS = {  # in a light and in a dark theme
    "paper": ("#ffffff", "#0d1117"),
    "card": ("#f6f8fa", "#161b22"),
    "ink": ("#1f2328", "#e6edf3"),
    "muted": ("#59636e", "#9ba4ae"),
    "rule": ("#d1d9e0", "#30363d"),
    "line": ("#0969da", "#58a6ff"),
    "info": ("#0e7490", "#39c5cf"),
    "warning": ("#9a6700", "#d29922"),
    "critical": ("#cf222e", "#ff7b72"),
    "ok": ("#1a7f37", "#3fb950"),
}
LIGHT = {name: light for name, (light, _) in _COLOURS.items()}
DARK = {name: dark for name, (_, dark) in _COLOURS.items()}
FONT_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"
_LAYOUT_CSS = (
    f"text{{font:11px {FONT_FAMILY}}}.note{{font-size:12px}}.name{{font-size:14px;font-weight:600}}"
    ".title{font-size:19px;font-weight:600}.end{text-anchor:end}"
    ".reset{stroke-dasharray:1 3}.threshold{stroke-dasharray:6 4}"
    ".usage{fill:none;stroke-width:1.8;stroke-linejoin:round}.mark{stroke-width:1.5}.mark.resolved{stroke-width:2}"
)
# Without CSS variables: what converts to PNG does not know `var()`. Nor does it know `@media`, so a PNG is light.
_COLOUR_CSS = Template(
    ".paper{fill:$paper}.ink{fill:$ink}.muted{fill:$muted}.grid{stroke:$rule}.reset{stroke:$muted;stroke-opacity:.55}"
    ".usage{stroke:$line}.area{fill:$line;fill-opacity:.13}.dot{fill:$line}"
    ".info{color:$info}.warning{color:$warning}.critical{color:$critical}.threshold{stroke:currentColor}"
    ".label{fill:currentColor}.mark{fill:currentColor;stroke:$paper}.mark.resolved{fill:$paper;stroke:$ok}"
)


CHART_CSS = (
    f"{_LAYOUT_CSS}{_COLOUR_CSS.substitute(LIGHT)}@media(prefers-color-scheme:dark){{{_COLOUR_CSS.substitute(DARK)}}}"
)
"""The style rules of a picture, for a separate SVG or for a page that holds several."""


def format_colour_variables(colours: Mapping[str, str]) -> str:
    """`--ink:#1f2328;...`: the colours of a theme as variables of a page."""
    return "".join(f"--{name}:{value};" for name, value in colours.items())


# --- pictures -------------------------------------------------------------------------------------------------------


def render_svg(tracks: Sequence[Track], time_range: TimeRange, *, title: str) -> str:
    """The picture as a document of its own."""
    height = HEADER_HEIGHT + PANEL_HEIGHT * len(tracks) + FOOTER_HEIGHT
    panels = [
        element(
            "g",
            element("text", track.name, class_="ink name", x=24, y=20),
            element("text", summarize_track(track), class_="muted note end", x=WIDTH - 24, y=20),
            *_Panel(track, time_range, PANEL_HEIGHT, top=34).draw(),
            transform=f"translate(0 {HEADER_HEIGHT + PANEL_HEIGHT * index})",
        )
        for index, track in enumerate(tracks)
    ]
    picture = element(
        "svg",
        element("title", title, id="usage-title"),
        element("desc", "; ".join(f"{each.name}: {summarize_track(each)}" for each in tracks), id="usage-words"),
        element("style", Markup(CHART_CSS)),
        element("rect", class_="paper", width=WIDTH, height=height, rx=10),
        element("text", title, class_="ink title", x=24, y=34),
        element("text", format_dates(time_range), class_="muted note", x=24, y=53),
        *panels,
        element("text", LEGEND, class_="muted", x=24, y=height - 18),
        element("text", "AI usage watcher", class_="muted end", x=WIDTH - 24, y=height - 18),
        xmlns="http://www.w3.org/2000/svg",
        viewBox=f"0 0 {WIDTH} {height}",
        width=WIDTH,
        height=height,
        role="img",
        aria_labelledby="usage-title usage-words",
    )
    return f"{picture}\n"


def render_panel(track: Track, time_range: TimeRange) -> Markup:
    """One series without frame, heading and colours, for a page that has them."""
    panel = _Panel(track, time_range, _BARE_PANEL_HEIGHT, top=12).draw()
    label = f"{track.name}: {summarize_track(track)}"
    return element("svg", *panel, viewBox=f"0 0 {WIDTH} {_BARE_PANEL_HEIGHT}", role="img", aria_label=label)


class _Panel:
    """The picture of one series."""

    left, right = MARGIN_LEFT, WIDTH - MARGIN_RIGHT

    def __init__(self, track: Track, time_range: TimeRange, height: int, *, top: int) -> None:
        self.track, self.time_range = track, time_range
        self.top, self.bottom = top, height - MARGIN_BOTTOM

    def draw(self) -> Iterator[Markup]:
        yield from self.draw_grid()
        yield from self.draw_resets()
        yield from self.draw_thresholds()
        yield from self.draw_usage()
        yield from self.draw_alerts()

    def place(self, time_fraction: float, scale_fraction: float) -> tuple[float, float]:
        """The coordinates of a fraction of the time and of the scale."""
        x = self.left + time_fraction * (self.right - self.left)
        return round(x, 1), round(self.bottom + scale_fraction * (self.top - self.bottom), 1)

    def x(self, at: datetime) -> float:
        return self.place(self.time_range.fraction_at(at), 0)[0]

    def y(self, value: float) -> float:
        return self.place(0, self.track.fraction_of(value))[1]

    def draw_grid(self) -> Iterator[Markup]:
        track = self.track
        if track.is_in_percent:
            labels = {value: f"{value:.0f} %" for value in (0.0, 50.0, 100.0)}
        else:
            values = sorted({track.scale_min, 0.0, track.scale_max / 1.1})
            labels = {value: formatting.format_number(round(value, 2)) for value in values}
        for value, label in labels.items():
            y = self.y(value)
            yield element("line", class_="grid", x1=self.left, x2=self.right, y1=y, y2=y)
            yield element("text", label, class_="muted end", x=self.left - 8, y=y + 4)
        for at, label in compute_ticks(self.time_range, 8):
            x = self.x(at)
            yield element("line", class_="grid", x1=x, x2=x, y1=self.bottom, y2=self.bottom + 4)
            if x < self.right - 20:
                yield element("text", label, class_="muted", x=x, y=self.bottom + 16)

    def draw_resets(self) -> Iterator[Markup]:
        start, end = self.time_range.start, self.time_range.end
        shown = [period for period in self.track.usage_history.periods if start <= period.ended_at <= end]
        top = self.top if len(shown) <= _MAX_RESET_LINES else self.bottom - 8
        for period in shown:
            x = self.x(period.ended_at)
            spent = "unknown" if period.used_percent is None else formatting.format_percent(period.used_percent)
            at = format_timestamp(period.ended_at, self.time_range.tz) + (", early" if period.ended_early else "")
            title = element("title", f"reset {at}; spent before it: {spent}")
            yield element("line", title, class_="reset", x1=x, x2=x, y1=top, y2=self.bottom)

    def draw_thresholds(self) -> Iterator[Markup]:
        """One line for each height, with its label beside it; the lowest is drawn first."""
        drawn: list[Markup] = []
        label_y = self.top - _MIN_LABEL_DISTANCE
        for line in _select_thresholds(self.track):
            y, label, severity = self.y(line.value), self.track.format_value(line.value), line.severity
            label_y = max(y, label_y + _MIN_LABEL_DISTANCE)  # below the label above
            title = element("title", f"{line.rule}: {severity} at {label}")
            drawn.append(element("text", label, class_=f"label {severity}", x=self.right + 6, y=label_y + 4))
            drawn.append(
                element("line", title, class_=f"threshold {severity}", x1=self.left, x2=self.right, y1=y, y2=y)
            )
        return reversed(drawn)

    def draw_usage(self) -> Iterator[Markup]:
        for segment in build_segments(self.track, self.time_range):
            dots = [self.place(*dot) for dot in downsample(segment, WIDTH)]
            (first_x, first_y), (last_x, _) = dots[0], dots[-1]
            if len(dots) == 1:
                yield element("circle", class_="dot", cx=first_x, cy=first_y, r=2)
                continue
            path, zero = "L".join(f"{x:g} {y:g}" for x, y in dots), self.y(0.0)
            yield element("path", class_="area", d=f"M{first_x:g} {zero:g}L{path}L{last_x:g} {zero:g}Z")
            yield element("path", class_="usage", d=f"M{path}")

    def draw_alerts(self) -> Iterator[Markup]:
        for transition in self.track.transitions:
            if not self.time_range.start <= transition.at <= self.time_range.end:
                continue
            event, severity, value = transition.event, transition.severity, self.track.value_of(transition.reading)
            x, y = self.x(transition.at), self.y(self.track.scale_max if value is None else value)
            used = "" if value is None else f" at {self.track.format_value(value)}"
            at = format_timestamp(transition.at, self.time_range.tz)
            title = element("title", f"{transition.rule}: {event} ({severity}){used}, {at}")
            if event in FIRING_EVENTS:
                size = 5 if event is AlertEvent.REMINDER else 7
                low = y + size * 0.8
                triangle = f"M{x:g} {y - size:g}L{x + size:g} {low:g}L{x - size:g} {low:g}Z"
                yield element("path", title, class_=f"mark {severity}", d=triangle)
            else:
                yield element("circle", title, class_="mark resolved", cx=x, cy=y, r=4)


def _select_thresholds(track: Track) -> list[ThresholdLine]:
    """Those on the scale, highest value first; of several at one value, the most severe."""
    lines = sorted(track.threshold_lines, key=lambda line: (-line.value, line.severity.rank))
    by_value = {line.value: line for line in lines if track.scale_min <= line.value <= track.scale_max}
    return list(by_value.values())
