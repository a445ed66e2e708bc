"""Colours of the pictures in both themes, as style rules. What a colour tells is told by a shape or a word as well.

Contrast of text and of lines that matter against the background is 4.5 or better in each theme.
"""

from enum import StrEnum

FONT_FAMILY = "system-ui, -apple-system, 'Segoe UI', Roboto, 'DejaVu Sans', sans-serif"


class Theme(StrEnum):
    """How a picture is coloured."""

    AUTO = "auto"  # as whoever looks at it has set their system
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
