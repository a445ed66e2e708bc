"""The page of `watcher report`: one HTML file that needs no network and no script, in light and dark, on paper too.

Every text is escaped here, whoever wrote it, and a policy in the page's head forbids it to load anything. Never compute
here what the page says.
"""

from collections.abc import Iterator
from html import escape

from msgspec import Struct

from watcher.charts import Span, Track, day, svg
from watcher.charts.palette import DARK, FONT, LIGHT, Theme, rules

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
KEY = (
    "In the pictures: a triangle, an alert fired; a ring, it was over; dotted, a reset; dashed, a rule's threshold;"
    " a gap, nothing was read."
)


class Table(Struct, frozen=True, kw_only=True):
    """Rows of words; `severity` of a row, where it has one, is shown beside its first cell."""

    heads: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    severities: tuple[str, ...] = ()  # of each row, or none at all
    numeric: frozenset[int] = frozenset()  # columns whose figures stand below each other


class Card(Struct, frozen=True, kw_only=True):
    """One window: its picture, what is known now, what was spent before each reset."""

    title: str
    track: Track
    facts: tuple[tuple[str, str], ...]
    turns: Table


class Part(Struct, frozen=True, kw_only=True):
    """One account of one provider."""

    name: str
    note: str  # its plan
    trouble: str  # what is wrong with it; empty: nothing
    cards: tuple[Card, ...]


class Page(Struct, frozen=True, kw_only=True):
    """The whole page."""

    title: str
    span: Span
    figures: tuple[tuple[str, str], ...]  # (number, what it counts)
    parts: tuple[Part, ...]
    alerts: Table
    made: str  # when, and by what


def html(page: Page) -> str:
    """The page as one file."""
    dates = f"{day(page.span.start, page.span.tz)} to {day(page.span.end, page.span.tz)}"
    lines = [
        "<!doctype html>",
        '<html lang="en">',
        "<head>",
        '<meta charset="utf-8">',
        f'<meta http-equiv="Content-Security-Policy" content="{POLICY}">',
        '<meta name="viewport" content="width=device-width, initial-scale=1">',
        '<meta name="color-scheme" content="light dark">',
        '<meta name="referrer" content="no-referrer">',
        f"<title>{_safe(page.title)}</title>",
        f"<style>{_style()}</style>",
        "</head>",
        "<body>",
        f"<header><h1>{_safe(page.title)}</h1><p>{_safe(dates)}</p></header>",
        "<main>",
        '<ul class="figures">',
        *(f"<li><b>{_safe(number)}</b> {_safe(what)}</li>" for number, what in page.figures),
        "</ul>",
        f'<p class="key">{_safe(KEY)}</p>' if any(part.cards for part in page.parts) else "",
    ]
    for part in page.parts:
        lines += _part(part, page.span)
    lines += _alerts(page.alerts)
    lines += ["</main>", f"<footer><p>{_safe(page.made)}</p></footer>", "</body>", "</html>", ""]
    return "\n".join(lines)


def _part(part: Part, span: Span) -> Iterator[str]:
    note = f" <small>{_safe(part.note)}</small>" if part.note else ""
    yield f"<section><h2>{_safe(part.name)}{note}</h2>"
    if part.trouble:
        yield f'<p class="trouble"><b>Trouble:</b> {_safe(part.trouble)}</p>'
    if not part.cards:
        yield "<p>Nothing was read in this time.</p>"
    for card in part.cards:
        yield from _card(card, span)
    yield "</section>"


def _card(card: Card, span: Span) -> Iterator[str]:
    yield f"<article><h3>{_safe(card.title)}</h3>"
    yield f'<div class="wide">{svg.panel(card.track, span)}</div>'
    yield "<dl>"
    yield from (f"<div><dt>{_safe(name)}</dt><dd>{_safe(fact)}</dd></div>" for name, fact in card.facts)
    yield "</dl>"
    count = len(card.turns.rows)
    if count:
        words = "the reset" if count == 1 else f"each of {count} resets"
        opened = " open" if count <= 8 else ""  # noqa: PLR2004 - more would push all else off the screen
        yield f"<details{opened}><summary>Spent before {words}</summary>"
        yield from _table(card.turns)
        yield "</details>"
    yield "</article>"


def _alerts(table: Table) -> Iterator[str]:
    yield "<section><h2>Alerts</h2>"
    if table.rows:
        yield from _table(table)
    else:
        yield "<p>No alert fired in this time.</p>"
    yield "</section>"


def _table(table: Table) -> Iterator[str]:
    classes = [' class="n"' if column in table.numeric else "" for column in range(len(table.heads))]
    heads = "".join(
        f'<th scope="col"{each}>{_safe(head)}</th>' for head, each in zip(table.heads, classes, strict=True)
    )
    yield f'<div class="wide"><table><thead><tr>{heads}</tr></thead><tbody>'
    for index, row in enumerate(table.rows):
        cells = [f"<td{each}>{_safe(word)}</td>" for word, each in zip(row, classes, strict=True)]
        if table.severities:
            severity = _safe(table.severities[index])
            cells[0] = cells[0].replace(">", f'><span class="badge {severity}">{severity}</span> ', 1)
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table></div>"


def _safe(text: str) -> str:
    """Escaped for text and attributes; without control characters and what turns the direction of writing."""
    return escape("".join(sign for sign in text if sign.isprintable()), quote=True)


def _style() -> str:
    return (
        f":root{{{_variables(LIGHT)}}}@media(prefers-color-scheme:dark){{:root{{{_variables(DARK)}}}}}"
        f"*{{box-sizing:border-box}}body{{margin:0;background:var(--paper);color:var(--ink);font:16px/1.5 {FONT}}}"
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
        f"{rules(Theme.AUTO)}.usage-chart .paper{{fill:none}}.usage-chart text{{font-family:{FONT}}}"
    )


def _variables(colours: dict[str, str]) -> str:
    return "".join(f"--{name}:{value};" for name, value in colours.items())
