"""The page of `watcher report`: one HTML file without scripts or external resources, for light, dark and print.

Every text is escaped here, and a policy in the page's head forbids it to load anything.
"""

from collections.abc import Iterator

from msgspec import Struct

from watcher.cli.charts import TimeRange, Track, format_date, svg
from watcher.cli.charts.svg import DARK_COLOURS, FONT_FAMILY, LIGHT_COLOURS, Theme, escape_text, make_chart_css

CONTENT_SECURITY_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
PICTURE_LEGEND = (
    "In the pictures: a triangle, an alert fired; a ring, it was over; dotted, a reset; dashed, a rule's threshold;"
    " a gap, nothing was read."
)


class Table(Struct, frozen=True, kw_only=True):
    """Rows of text; the severity of a row, where it has one, is shown beside its first cell."""

    headers: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    severities: tuple[str, ...] = ()  # of each row, or none at all
    numeric_columns: frozenset[int] = frozenset()  # columns whose figures stand below each other


class Card(Struct, frozen=True, kw_only=True):
    """One window: its picture, what is known now, what was spent before each reset."""

    title: str
    track: Track
    facts: tuple[tuple[str, str], ...]
    resets: Table


class AccountSection(Struct, frozen=True, kw_only=True):
    """One account of one provider."""

    name: str
    note: str  # its plan
    error: str  # what is wrong with it; empty: nothing
    cards: tuple[Card, ...]


class ReportPage(Struct, frozen=True, kw_only=True):
    """The whole page."""

    title: str
    time_range: TimeRange
    key_figures: tuple[tuple[str, str], ...]  # (number, what it counts)
    sections: tuple[AccountSection, ...]
    alerts: Table
    footer: str  # when, and by what


def render_page(page: ReportPage) -> str:
    """The page as one file."""
    start, end = (format_date(at, page.time_range.tz) for at in (page.time_range.start, page.time_range.end))
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{CONTENT_SECURITY_POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{escape_text(page.title)}</title>",
        f"<style>{_make_style_sheet()}</style>",
        "</head>",
        "<body>",
        f"<header><h1>{escape_text(page.title)}</h1><p>{escape_text(start)} to {escape_text(end)}</p></header>",
        "<main>",
        '<ul class="figures">',
        *(f"<li><b>{escape_text(number)}</b> {escape_text(what)}</li>" for number, what in page.key_figures),
        "</ul>",
        f'<p class="key">{escape_text(PICTURE_LEGEND)}</p>' if any(part.cards for part in page.sections) else "",
    ]
    for part in page.sections:
        lines += _render_section(part, page.time_range)
    lines += _render_alerts(page.alerts)
    lines += ["</main>", f"<footer><p>{escape_text(page.footer)}</p></footer>", "</body>", "</html>", ""]
    return "\n".join(lines)


def _render_section(section: AccountSection, time_range: TimeRange) -> Iterator[str]:
    note = f" <small>{escape_text(section.note)}</small>" if section.note else ""
    yield f"<section><h2>{escape_text(section.name)}{note}</h2>"
    if section.error:
        yield f'<p class="trouble"><b>Problem:</b> {escape_text(section.error)}</p>'
    if not section.cards:
        yield "<p>Nothing was read in this time.</p>"
    for card in section.cards:
        yield from _render_card(card, time_range)
    yield "</section>"


def _render_card(card: Card, time_range: TimeRange) -> Iterator[str]:
    yield f"<article><h3>{escape_text(card.title)}</h3>"
    yield f'<div class="wide">{svg.render_panel(card.track, time_range)}</div>'
    yield "<dl>"
    yield from (f"<div><dt>{escape_text(name)}</dt><dd>{escape_text(fact)}</dd></div>" for name, fact in card.facts)
    yield "</dl>"
    count = len(card.resets.rows)
    if count:
        resets = "the reset" if count == 1 else f"each of {count} resets"
        opened = " open" if count <= 8 else ""  # noqa: PLR2004 - more would push all else off the screen
        yield f"<details{opened}><summary>Spent before {resets}</summary>"
        yield from _render_table(card.resets)
        yield "</details>"
    yield "</article>"


def _render_alerts(table: Table) -> Iterator[str]:
    yield "<section><h2>Alerts</h2>"
    if table.rows:
        yield from _render_table(table)
    else:
        yield "<p>No alert fired in this time.</p>"
    yield "</section>"


def _render_table(table: Table) -> Iterator[str]:
    classes = [' class="n"' if column in table.numeric_columns else "" for column in range(len(table.headers))]
    columns = zip(table.headers, classes, strict=True)
    heads = "".join(f'<th scope="col"{each}>{escape_text(header)}</th>' for header, each in columns)
    yield f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>'
    for index, row in enumerate(table.rows):
        cells = [f"<td{each}>{escape_text(cell)}</td>" for cell, each in zip(row, classes, strict=True)]
        if table.severities:
            severity = escape_text(table.severities[index])
            cells[0] = cells[0].replace(">", f'><span class="badge {severity}">{severity}</span> ', 1)
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _make_style_sheet() -> str:
    return (
        f":root{{{_format_css_variables(LIGHT_COLOURS)}}}"
        f"@media(prefers-color-scheme:dark){{:root{{{_format_css_variables(DARK_COLOURS)}}}}}"
        f"*{{box-sizing:border-box}}"
        f"body{{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 {FONT_FAMILY}}}"
        "header,main,footer{max-width:60rem;margin:0 auto;padding:0 1.25rem}header{padding-top:2rem}"
        "h1{margin:0;font-size:1.75rem}h2{margin:2.5rem 0 .75rem;font-size:1.25rem;overflow-wrap:anywhere}"
        "h3{margin:0 0 .25rem;font-size:1rem;overflow-wrap:anywhere}"
        "header p,footer,small,dt,.key{color:var(--muted)}.key{font-size:.875rem}"
        "header p{margin:.25rem 0 1.25rem}small{font-weight:400}"
        ".figures{list-style:none;display:flex;flex-wrap:wrap;gap:.75rem;margin:0;padding:0}"
        ".figures li{flex:1 1 9rem;background:var(--card);border:1px solid var(--rule);border-radius:.6rem;"
        "padding:.7rem .9rem;color:var(--muted);font-size:.875rem}"
        ".figures b{display:block;color:var(--ink);font-size:1.35rem;overflow-wrap:anywhere}"
        "article{background:var(--card);border:1px solid var(--rule);border-radius:.6rem;padding:1rem;margin:0 0 1rem}"
        "svg{display:block;width:100%;min-width:34rem;height:auto}"
        "dl{display:flex;flex-wrap:wrap;gap:.4rem 2rem;margin:.5rem 0 0}dt{font-size:.8rem}dd{margin:0}"
        "details{margin-top:.75rem}summary{cursor:pointer;color:var(--line)}"
        ".wide{overflow-x:auto}table{border-collapse:collapse;width:100%;font-size:.9rem}"
        "th,td{text-align:left;padding:.35rem .75rem .35rem 0;border-bottom:1px solid var(--rule);vertical-align:top}"
        "th{color:var(--muted);font-weight:600}.n{text-align:right;white-space:nowrap;padding-right:2rem;font-variant-numeric:tabular-nums}"
        ".badge{display:inline-block;border:1px solid currentColor;border-radius:1rem;padding:0 .55rem;"
        "font-size:.75rem;line-height:1.4;margin-right:.4rem}"
        ".badge.info{color:var(--info)}.badge.warning{color:var(--warning)}.badge.critical{color:var(--critical)}"
        ".trouble{border-left:3px solid var(--critical);padding-left:.75rem;overflow-wrap:anywhere}"
        "footer{padding-top:2rem;padding-bottom:2rem;font-size:.8rem}"
        "@media print{article{break-inside:avoid}details>*{display:block}}"
        f"{make_chart_css(Theme.AUTO)}.usage-chart .paper{{fill:none}}.usage-chart text{{font-family:{FONT_FAMILY}}}"
    )


def _format_css_variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())
