"""A picture of usage over time as SVG: small, self-contained, readable without seeing it.

A panel for each series: the course with a gap wherever nobody looked, resets as dotted lines, thresholds of the rules
in force as dashed ones, and a mark where an alert changed: a triangle fires, a ring is over. Every text from outside is
escaped here and nowhere else. Never compute here what the picture means.
"""

from collections.abc import Iterator, Sequence
from html import escape

from watcher.charts import Moment, Span, Track, day, stamp, summary, ticks
from watcher.charts.palette import FONT, Theme, rules
from watcher.charts.strokes import strokes, thinned
from watcher.core import phrases
from watcher.core.lookout import Line
from watcher.core.model import Event

WIDTH = 900
PANEL = 172
HEAD = 62
FOOT = 44
LEFT, RIGHT, TOP, BOTTOM = 52, 84, 34, 24
_APART = 11.0  # least distance of two labels of thresholds
_ENDS = (Event.RESOLVED, Event.RESET)
_MOST_TURN_LINES = 40  # more would be a curtain


def picture(tracks: Sequence[Track], span: Span, *, theme: Theme, title: str) -> str:
    """The whole picture as a document of its own."""
    height = HEAD + PANEL * len(tracks) + FOOT
    words = "; ".join(f"{track.name}: {summary(track)}" for track in tracks)
    dates = f"{day(span.start, span.tz)} to {day(span.end, span.tz)}"
    body = [
        f'<svg xmlns="http://www.w3.org/2000/svg" class="usage-chart" viewBox="0 0 {WIDTH} {height}"',
        f' width="{WIDTH}" height="{height}" role="img" aria-labelledby="usage-title usage-words">',
        f'<title id="usage-title">{_safe(title)}</title>',
        f'<desc id="usage-words">{_safe(words)}</desc>',
        f"<style>{_type()}{rules(theme)}</style>",
        f'<rect class="paper" width="{WIDTH}" height="{height}" rx="10"/>',
        f'<text class="ink" x="24" y="34" font-size="19" font-weight="600">{_safe(title)}</text>',
        f'<text class="muted" x="24" y="53" font-size="12">{_safe(dates)}</text>',
    ]
    for index, track in enumerate(tracks):
        body.append(f'<g transform="translate(0 {HEAD + PANEL * index})">')
        body += _panel(track, span, PANEL, heading=True)
        body.append("</g>")
    body += _legend(height - 18, tracks)
    return "\n".join([*body, "</svg>", ""])


def panel(track: Track, span: Span, *, height: int = 168) -> str:
    """One series without frame, heading and colours: for a page that has them."""
    label = _safe(f"{track.name}: {summary(track)}")
    return "\n".join(
        [
            f'<svg class="usage-chart" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">',
            *_panel(track, span, height, heading=False),
            "</svg>",
        ]
    )


def _type() -> str:
    return f".usage-chart text{{font-family:{FONT}}}"


def _safe(text: str) -> str:
    """Escaped for text and for attributes; without the control characters that XML has no way to write."""
    return escape("".join(sign for sign in text if sign.isprintable()), quote=True)


# --- a panel --------------------------------------------------------------------------------------------------------


class _Frame:
    """Where on the panel an instant and a value are."""

    def __init__(self, track: Track, span: Span, height: int, top: int) -> None:
        self.span = span
        self.y0, self.y1 = float(height - BOTTOM), float(top)
        self.low, self.high = track.bottom, track.top

    def x(self, share: float) -> float:
        return round(LEFT + share * (WIDTH - LEFT - RIGHT), 1)

    def y(self, value: float) -> float:
        share = (min(max(value, self.low), self.high) - self.low) / (self.high - self.low)
        return round(self.y0 + share * (self.y1 - self.y0), 1)


def _panel(track: Track, span: Span, height: int, *, heading: bool) -> Iterator[str]:
    frame = _Frame(track, span, height, TOP if heading else 12)
    if heading:
        yield f'<text class="ink" x="24" y="20" font-size="14" font-weight="600">{_safe(track.name)}</text>'
        right = WIDTH - 24
        yield f'<text class="muted" x="{right}" y="20" font-size="12" text-anchor="end">{_safe(summary(track))}</text>'
    yield from _grid(track, frame)
    yield from _turns(track, frame)
    yield from _limits(track, frame)
    yield from _course(track, frame)
    for moment in track.moments:
        if span.start <= moment.at <= span.end:
            yield _mark(moment, track, frame)


def _grid(track: Track, frame: _Frame) -> Iterator[str]:
    left, right = frame.x(0), frame.x(1)
    if track.in_percent:
        values = [value for value in (0.0, 50.0, 100.0) if value <= frame.high]
    else:
        values = sorted({frame.low, 0.0, frame.high / 1.1})
    for value in values:
        y = frame.y(value)
        word = f"{value:.0f} %" if track.in_percent else phrases.number(round(value, 2))
        yield f'<line class="grid" x1="{left}" x2="{right}" y1="{y}" y2="{y}"/>'
        yield f'<text class="muted" x="{left - 8}" y="{y + 4}" font-size="11" text-anchor="end">{_safe(word)}</text>'
    for at, word in ticks(frame.span, 8):
        x = frame.x(frame.span.share(at))
        yield f'<line class="grid" x1="{x}" x2="{x}" y1="{frame.y0}" y2="{frame.y0 + 4}"/>'
        if x < right - 20:
            yield f'<text class="muted" x="{x}" y="{frame.y0 + 16}" font-size="11">{_safe(word)}</text>'


def _turns(track: Track, frame: _Frame) -> Iterator[str]:
    shown = [turn for turn in track.course.turns if frame.span.start <= turn.at <= frame.span.end]
    low = frame.y1 if len(shown) <= _MOST_TURN_LINES else frame.y0 - 8
    for turn in shown:
        x = frame.x(frame.span.share(turn.at))
        spent = "unknown" if turn.spent_percent is None else phrases.percent(turn.spent_percent)
        words = f"reset {stamp(turn.at, frame.span.tz)}{', early' if turn.early else ''}; spent before it: {spent}"
        yield (
            f'<line class="turn" x1="{x}" x2="{x}" y1="{low}" y2="{frame.y0}" stroke-dasharray="1 3">'
            f"<title>{_safe(words)}</title></line>"
        )


def _limits(track: Track, frame: _Frame) -> Iterator[str]:
    """One line for each height, with its label beside it."""
    left, right = frame.x(0), frame.x(1)
    lines = [line for line in _highest_severity(track.lines) if frame.low <= line.value <= frame.high]
    heights = [frame.y(line.value) for line in lines]
    for line, y, beside in zip(lines, heights, _apart(heights, frame.y1), strict=True):
        words = f"{line.rule}: {line.severity} at {track.worded(line.value)}"
        yield (
            f'<line class="limit {line.severity}" x1="{left}" x2="{right}" y1="{y}" y2="{y}" stroke-dasharray="6 4">'
            f"<title>{_safe(words)}</title></line>"
        )
        yield (
            f'<text class="word {line.severity}" x="{right + 6}" y="{beside + 4:g}" font-size="11">'
            f"{_safe(track.worded(line.value))}</text>"
        )


def _apart(heights: Sequence[float], top: float) -> list[float]:
    """Heights of labels, lowest first, moved up so that none covers another, and down again from the panel's top."""
    moved: list[float] = []
    for y in heights:
        moved.append(min(y, moved[-1] - _APART) if moved else y)
    for index in range(len(moved) - 1, -1, -1):
        above = moved[index + 1] + _APART if index + 1 < len(moved) else top
        moved[index] = max(moved[index], above)
    return moved


def _highest_severity(lines: Sequence[Line]) -> list[Line]:
    worst: dict[float, Line] = {}
    for line in lines:
        known = worst.get(line.value)
        if known is None or known.severity.rank < line.severity.rank:
            worst[line.value] = line
    return [worst[value] for value in sorted(worst)]


def _course(track: Track, frame: _Frame) -> Iterator[str]:
    zero = frame.y(0.0)
    for piece in strokes(track, frame.span):
        dots = [(frame.x(share), frame.y(value)) for share, value in thinned(piece, WIDTH)]
        if len(dots) == 1:
            yield f'<circle class="dot" cx="{dots[0][0]}" cy="{dots[0][1]}" r="2"/>'
            continue
        path = "L".join(f"{x:g} {y:g}" for x, y in dots)
        yield f'<path class="under" d="M{dots[0][0]:g} {zero:g}L{path}L{dots[-1][0]:g} {zero:g}Z"/>'
        yield f'<path class="course" d="M{path}" stroke-width="1.8" stroke-linejoin="round"/>'


def _mark(moment: Moment, track: Track, frame: _Frame) -> str:
    x = frame.x(frame.span.share(moment.at))
    value = moment.used_percent if track.in_percent else moment.remaining
    y = frame.y(frame.high if value is None else value)
    much = "" if value is None else f" at {track.worded(value)}"
    words = f"{moment.rule}: {moment.event} ({moment.severity}){much}, {stamp(moment.at, frame.span.tz)}"
    title = f"<title>{_safe(words)}</title>"
    if moment.event in _ENDS:
        return f'<circle class="mark resolved" cx="{x}" cy="{y}" r="4" stroke-width="2">{title}</circle>'
    size = 5 if moment.event is Event.REMINDER else 7
    return f'<path class="mark {moment.severity}" d="{_triangle(x, y, size)}" stroke-width="1.5">{title}</path>'


def _triangle(x: float, y: float, size: float) -> str:
    return f"M{x:g} {y - size:g}L{x + size:g} {y + size * 0.8:g}L{x - size:g} {y + size * 0.8:g}Z"


# --- the legend -----------------------------------------------------------------------------------------------------


def _legend(y: int, tracks: Sequence[Track]) -> Iterator[str]:
    """What the signs mean; only those that are in the picture."""
    everything = [moment for track in tracks for moment in track.moments]
    over = any(moment.event in _ENDS for moment in everything)
    severities = sorted({each.severity for each in everything if each.event not in _ENDS}, key=lambda each: each.rank)
    signs = [(f'<path class="mark {each}" d="{_triangle(0, -4, 6)}"/>', 12, f"alert, {each}") for each in severities]
    if over:
        signs.append(('<circle class="mark resolved" cx="0" cy="-4" r="4" stroke-width="2"/>', 12, "alert over"))
    if any(track.lines for track in tracks):
        dashes = '<line class="word limit warning" x1="-4" x2="18" y1="-4" y2="-4" stroke-dasharray="6 4"/>'
        signs.append((dashes, 24, "threshold of a rule"))
    if any(track.course.turns for track in tracks):
        signs.append(('<line class="turn" x1="0" x2="0" y1="-11" y2="2" stroke-dasharray="1 3"/>', 8, "reset"))
    x = 32.0
    for sign, gap, word in signs:
        label = f'<text class="muted" x="{gap}" font-size="11">{word}</text>'
        yield f'<g transform="translate({x:g} {y})">{sign}{label}</g>'
        x += gap + 6.2 * len(word) + 26
    yield f'<text class="muted" x="{WIDTH - 24}" y="{y}" font-size="11" text-anchor="end">AI usage watcher</text>'
