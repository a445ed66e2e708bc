import re
from html.parser import HTMLParser

from hypothesis import given
from hypothesis import strategies as st
from msgspec import structs

from tests.cli.charts.test_charts import SPAN, track
from watcher.cli.charts.html import AccountSection, Card, ReportPage, Table, render_page

VOID = {"meta"}


class Reader(HTMLParser):
    """Reads a page strictly: every element ends where it should."""

    def __init__(self, text):
        super().__init__()
        self.open, self.seen, self.words = [], [], []
        self.feed(text)
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.seen.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)

    def tags(self):
        return {tag for tag, _ in self.seen}


def a_page(word="x", turns=1):
    table = Table(headers=(word, "spent"), rows=((word, "82 %"),) * turns, numeric_columns=frozenset({1}))
    card = Card(title=word, track=track(10, 82, name=word), facts=((word, word),), resets=table)
    return ReportPage(
        title=word,
        time_range=SPAN,
        key_figures=((word, word),),
        sections=(
            AccountSection(name=word, note=word, error=word, cards=(card,)),
            AccountSection(name="Codex", note="", error="", cards=()),
        ),
        alerts=Table(headers=(word, "window"), rows=((word, word),), severities=("critical",)),
        footer=word,
    )


def test_a_page_is_whole_and_loads_nothing():
    text = render_page(a_page())
    page = Reader(text)
    assert page.tags().isdisjoint({"script", "img", "link", "iframe", "object", "embed", "form", "a", "base"})
    assert not re.search(r"https?:|//[a-z]|url\(|@import|src=|href=| on[a-z]+=", text)
    policy = next(each["content"] for tag, each in page.seen if each.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_light_and_dark_are_both_in_it():
    text = render_page(a_page())
    assert text.count("@media(prefers-color-scheme:dark)") == 2
    assert '<meta name="color-scheme" content="light dark">' in text


@given(st.text())
def test_whatever_a_text_holds_it_stays_text(word):
    page = Reader(render_page(a_page(f"x{word}")))
    plain = Reader(render_page(a_page()))
    assert [tag for tag, _ in page.seen] == [tag for tag, _ in plain.seen]


def test_markup_in_a_text_is_shown_as_it_was_written():
    evil = '</style><script>alert(1)</script><img src=x onerror="alert(1)">'
    page = Reader(render_page(a_page(evil)))
    assert page.words.count(evil) >= 8


def test_a_severity_is_a_word_and_not_only_a_colour():
    assert '<span class="badge critical">critical</span> x</td>' in render_page(a_page())


def test_the_pictures_signs_are_explained_where_there_are_pictures():
    assert "a triangle, an alert fired" in render_page(a_page())
    assert "a triangle" not in render_page(structs.replace(a_page(), sections=()))


def test_few_resets_are_open_and_many_folded():
    assert "<details open><summary>Spent before the reset<" in render_page(a_page())
    assert "<details open><summary>Spent before each of 8 resets<" in render_page(a_page(turns=8))
    assert "<details><summary>Spent before each of 9 resets<" in render_page(a_page(turns=9))
    assert "<details" not in render_page(a_page(turns=0))


def test_nothing_to_show_is_reported():
    empty = ReportPage(
        title="AI usage",
        time_range=SPAN,
        key_figures=(),
        sections=(),
        alerts=Table(headers=("rule",), rows=(), severities=()),
        footer="now",
    )
    assert "<p>No alert fired in this time.</p>" in render_page(empty)
    assert "<p>Nothing was read in this time.</p>" in render_page(a_page())


def test_figures_stand_below_each_other():
    assert '<th scope="col" class="n">spent</th>' in render_page(a_page())
    assert '<td class="n">82 %</td>' in render_page(a_page())
