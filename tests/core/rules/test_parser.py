"""The rule language: what is parsed, how it prints, and the messages about mistakes."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from watcher.core.model import Series, WindowKind
from watcher.core.rules.ast import And, Arithmetic, Comparison, FieldReference, Literal, Negative, Not, Or, Selector
from watcher.core.rules.parser import (
    MAX_TOKENS,
    ExpressionError,
    find_subject,
    parse_clear,
    parse_condition,
    parse_literal,
    parse_selector,
)
from watcher.core.rules.vocabulary import PROVIDER_WINDOWS, Unit, find_common_unit

LEVEL = parse_literal("80%")
VALUE_HINT = "valid here: a value such as `80%` or `$12.50`, or a series such as `claude.five_hour`"


def get_error(text, **more):
    """The message about a text, and the part of it that is marked."""
    with pytest.raises(ExpressionError) as caught:
        parse_condition(text, **more)
    error = caught.value
    return error.message, text[error.start : error.end]


@pytest.mark.parametrize(
    "text",
    [
        "claude.five_hour > 80%",
        "claude > 80%",
        "copilot.remaining < 0",
        "*.weekly >= 80%",
        "codex.* > 90%",
        "*.* > 90%",
        "*.age > 45m",
        "*.*.age > 45m",
        "*.session.exhausts_in < 45m and resets_in > 1h",
        "resets_in > 1h and *.session > 5%",
        "claude[me@example.com].five_hour >= 80%",
        "*[Ann Example].weekly > 5%",
        "not claude.up",
        "claude.up == false",
        "2 * claude.five_hour.used_percent > 3 * (10% + 5%)",
        "(*.session > 1% or *.weekly > 2%) and not resets_in < 1h",
        "not (claude > 1% and claude.seven_day > 2%)",
        "codex.9h > 5%",
        "codex.90m > 5%",
        "codex.gpt_5_codex_spark_weekly > 5%",
        "gemini_cli.gemini_2_5_pro > 5%",
        "copilot.used / copilot.limit > 0.8",
        "copilot.limit - copilot.used - copilot.remaining != 0",
        "copilot.limit - (copilot.used - copilot.remaining) != 0",
        "nano_gpt.balance_usd.remaining < $12.50",
        "*.balance.remaining < $5",
        "claude.rate > 10%",
        "claude.projected - claude.used_percent > 20%",
        "-claude.five_hour < -80%",
        "claude.resets_in / claude.window < 0.5",
        "80% < claude.five_hour",
    ],
)
def test_an_expression_prints_as_its_text(text):
    assert str(parse_condition(text)) == text


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("  claude.five_hour>80 %  ", "claude.five_hour > 80%"),
        ("((claude.five_hour) > (80%))", "claude.five_hour > 80%"),
        ("claude.five_hour\n  > 80%", "claude.five_hour > 80%"),
        ("not(claude.up)", "not claude.up"),
    ],
)
def test_spaces_and_needless_parentheses_are_dropped(text, printed):
    assert str(parse_condition(text)) == printed


def test_level_is_replaced_by_its_value():
    assert str(parse_condition("*.weekly > level", level=LEVEL)) == "*.weekly > 80%"


def test_products_bind_tighter_than_sums_and_sums_than_comparisons():
    tree = parse_condition("copilot.used + 2 * 3 > copilot.limit")
    assert isinstance(tree, Comparison)
    assert isinstance(tree.left, Arithmetic)
    assert tree.left.operator == "+"


def test_and_binds_tighter_than_or():
    tree = parse_condition("claude > 1% or claude > 2% and claude > 3%")
    assert isinstance(tree, Or)
    assert isinstance(tree.terms[1], And)


def test_a_bare_field_belongs_to_the_first_selector_of_the_text():
    tree = parse_condition("resets_in < 1h and codex.weekly > 5% and claude.age < 1h")
    assert tree.terms[0].left.selector == Selector("codex", "", "weekly")
    assert find_subject(tree) == Selector("codex", "", "weekly")


@pytest.mark.parametrize(
    ("text", "selector", "field"),
    [
        ("claude", Selector("claude"), "used_percent"),
        ("claude.five_hour", Selector("claude", "", "five_hour"), "used_percent"),
        ("claude.remaining_percent", Selector("claude"), "remaining_percent"),
        ("claude[a.b@example.com].seven_day", Selector("claude", "a.b@example.com", "seven_day"), "used_percent"),
        ("claude[me].rate", Selector("claude", "me"), "rate"),
        ("*.weekly", Selector("*", "", "weekly"), "used_percent"),
        ("codex.*.projected", Selector("codex", "", "*"), "projected"),
    ],
)
def test_the_parts_of_a_selector(text, selector, field):
    tree = parse_condition(f"{text} > 5%")
    assert (tree.left.selector, tree.left.field) == (selector, field)


@pytest.mark.parametrize(
    ("text", "message", "spot"),
    [
        (
            "claude.five_hour > 2h",
            (
                "`claude.five_hour` is a percent, `2h` is a duration; valid: such as `80%`, or "
                "another field: resets_in, window, age, exhausts_in"
            ),
            "2h",
        ),
        (
            "claude.five_hour > 80",
            "`claude.five_hour` is a percent, `80` is a plain number; did you mean `80%`?",
            "80",
        ),
        (
            "copilot.remaining < $5",
            "`copilot.remaining` is a count, `$5` is an amount of money; valid: such as `50`",
            "$5",
        ),
        (
            "nano_gpt.balance_usd < $5",
            (
                "`nano_gpt.balance_usd` is a percent, `$5` is an amount of money; valid: such as "
                "`80%`, or another field: used, limit, remaining, increase"
            ),
            "$5",
        ),
        (
            "claude.five_hour + 5m > 80%",
            "`+` cannot join `claude.five_hour`, a percent, and `5m`, a duration",
            "claude.five_hour + 5m",
        ),
        (
            "claude.age * claude.age > 80%",
            "`*` cannot join `claude.age`, a duration, and `claude.age`, a duration",
            "claude.age * claude.age",
        ),
        (
            "claude.used / 0 > 5",
            "the result of a division by zero is unknown; divide by something else",
            "0",
        ),
        (
            "claude.up and 45m",
            "`45m` is a duration, not a condition; compare it, as in `claude < 80%`",
            "45m",
        ),
        ("claude.up > true", "`claude.up` is true or false, which has no order; valid: `==` or `!=`", ">"),
        (
            "claude.five_hour",
            "`claude.five_hour` is a percent, not a condition; compare it, as in `claude.five_hour > 80%`",
            "claude.five_hour",
        ),
        (
            "claude.up and codex.weekly",
            "`codex.weekly` is a percent, not a condition; compare it, as in `codex.weekly > 80%`",
            "codex.weekly",
        ),
        (
            "claude.error == 3",
            "`error` is text, for `title` and `message` only; valid: such as `not up`",
            "claude.error",
        ),
        ("1 < 2", "this does not depend on any reading; write such as `claude.five_hour > 80%`", "1 < 2"),
        ("true", "this does not depend on any reading; write such as `claude.five_hour > 80%`", "true"),
        ("resets_in < 5m", "`resets_in` of which series? write such as `claude.five_hour.resets_in`", "resets_in"),
        ("*.weekly > level", "`level` has no value here; give the rule `levels`, or write the value", "level"),
    ],
)
def test_units_are_checked_while_parsing(text, message, spot):
    assert get_error(text) == (message, spot)


@pytest.mark.parametrize(
    ("text", "message", "spot"),
    [
        ("claud.five_hour > 8%", "unknown provider `claud`; did you mean `claude`?", "claud"),
        (
            "mistral.five_hour > 8%",
            "unknown provider `mistral`; valid: " + ", ".join(PROVIDER_WINDOWS),
            "mistral",
        ),
        ("Claude.five_hour > 8%", "unknown provider `Claude`; did you mean `claude`?", "Claude"),
        (
            "claude.five_hours > 8%",
            "claude has no window or field `five_hours`; did you mean `five_hour`?",
            "five_hours",
        ),
        ("claude.weekl > 8%", "claude has no window or field `weekl`; did you mean `weekly`?", "weekl"),
        ("copilot.remainig < 0", "copilot has no window or field `remainig`; did you mean `remaining`?", "remainig"),
        (
            "codex.seven_day > 8%",
            (
                "codex has no window or field `seven_day`; valid: five_hour, weekly, monthly, code_review_weekly, "
                "credits, individual_limit, reset_credits, cost"
            ),
            "seven_day",
        ),
        (
            "*.five_hours > 8%",
            "no provider has a window or field `five_hours`; did you mean `five_hour`?",
            "five_hours",
        ),
        ("claude.five_hour.rat > 8%", "unknown field `rat`; did you mean `rate`?", "rat"),
        (
            "claude.five_hour.colour > 8%",
            (
                "unknown field `colour`; valid: used_percent, remaining_percent, used, limit, remaining, increase, "
                "resets_in, window, age, up, blocked, rate, projected, exhausts_in, error"
            ),
            "colour",
        ),
        (
            "claude.five_hour.rate.x > 8%",
            (
                "`claude.five_hour.rate.x` has too many parts; write provider.window.field, as in "
                "`claude.five_hour.resets_in`"
            ),
            "claude.five_hour.rate.x",
        ),
        ("claude[].five_hour > 8%", "the account is empty; leave it out for all: `claude`", "claude[].five_hour"),
        (
            "claude.five-hour > 8%",
            "unexpected `-` in `claude.five-hour`; did you mean `claude.five_hour`?",
            "claude.five-hour",
        ),
        ("gemini-cli > 8%", "unexpected `-` in `gemini-cli`; did you mean `gemini_cli`?", "gemini-cli"),
        ("claude > 80% AND claude < 90%", "unexpected `AND`; valid here: `and`, `or`, a comparison, or the end", "AND"),
        ("NOT claude.up", "unknown word `NOT`; did you mean `not`?", "NOT"),
        ("usd > 5", "unknown word `usd`; did you mean `used`?", "usd"),
    ],
)
def test_unknown_words_are_refused_with_the_closest_known_one(text, message, spot):
    assert get_error(text) == (message, spot)


@pytest.mark.parametrize(
    ("text", "message", "spot"),
    [
        ("", "there is no condition; write one such as `claude.five_hour > 80%`", ""),
        ("   ", "there is no condition; write one such as `claude.five_hour > 80%`", " "),
        ("claude >", f"the condition ends too early; {VALUE_HINT}", ""),
        ("claude > > 5%", f"unexpected `>`; {VALUE_HINT}", ">"),
        ("(claude > 5%", "this `(` is never closed", "("),
        ("claude > 5%)", "unexpected `)`; valid here: `and`, `or`, a comparison, or the end", ")"),
        ("claude > 5% claude > 6%", "unexpected `claude`; valid here: `and`, `or`, a comparison, or the end", "claude"),
        ("claude > 80% > 5%", "comparisons do not chain; write `a > b and b > c`", ">"),
        ("* > 80%", "unexpected `*`; `*.*` is every window, `*.weekly` every weekly one", "*"),
        ("claude => 5%", "unexpected `=>`; did you mean `>=`?", "=>"),
        ("claude = 5%", "unexpected `=`; did you mean `==`?", "="),
        ("claude > 5% && claude.up", "unexpected `&&`; did you mean `and`?", "&&"),
        ("!claude.up", "unexpected `!`; did you mean `not`?", "!"),
        ("claude ≥ 5%", "unexpected `≥`; did you mean `>=`?", "≥"),
        ("claude .five_hour > 5%", f"unexpected `.`; {VALUE_HINT}", "."),
        ("claude[me.five_hour > 5%", f"unexpected `[`; {VALUE_HINT}", "["),
        ("claude > .5%", f"unexpected `.`; {VALUE_HINT}", "."),
        ("claude > %", f"unexpected `%`; {VALUE_HINT}", "%"),
        ("claude > \x00", f"unexpected `\\x00`; {VALUE_HINT}", "\x00"),
        ("claude > \x1b[31m", f"unexpected `\\x1b`; {VALUE_HINT}", "\x1b"),
        ("claude > 12x", "`12x` is not a value; valid: `80%`, `45m`, `2h`, `7d`, `1h30m`, `$12.50` or `50`", "12x"),
        (
            "claude > 1.2.3%",
            "`1.2.3%` is not a value; valid: `80%`, `45m`, `2h`, `7d`, `1h30m`, `$12.50` or `50`",
            "1.2.3%",
        ),
        (
            "claude.age > 30m1h",
            "`30m1h` is not a value; valid: `80%`, `45m`, `2h`, `7d`, `1h30m`, `$12.50` or `50`",
            "30m1h",
        ),
        ("claude > 1e999%", "`1e999%` is too large; at most 1e+15", "1e999%"),
        ("claude.age > 99999999999d", "`99999999999d` is longer than ten years", "99999999999d"),
        (
            "claude.age > 1e400d",
            "`1e400d` is not a value; valid: `80%`, `45m`, `2h`, `7d`, `1h30m`, `$12.50` or `50`",
            "1e400d",
        ),
    ],
)
def test_a_syntax_error_is_reported_with_its_position(text, message, spot):
    assert get_error(text) == (message, spot)


@pytest.mark.parametrize(
    "text",
    [
        "claude.seven_day_fable > 5%",
        "claude.seven_day_opus_4 > 5%",
        "claude.routines > 5%",
        "copilot.mystery_bucket > 5%",
        "antigravity.gemini_3_1_pro_high > 5%",
        "*.seven_day_fable > 5%",
    ],
)
def test_windows_that_an_api_may_add_are_accepted(text):
    assert str(parse_condition(text)) == text


@pytest.mark.parametrize(
    "text",
    [
        "(" * 900 + "claude > 5%" + ")" * 900,
        "not " * 400 + "claude.up",
        "-" * 1900 + "claude > 5%",
        "1 + " * 400 + "claude.used > 5",
        "2 * (" * 300 + "claude.used",
        "claude and " * 100_000,
    ],
)
def test_a_very_long_condition_is_refused(text):
    message, _ = get_error(text)
    assert message == f"longer than {MAX_TOKENS} words and signs; split it into several rules"


@pytest.mark.parametrize(
    "text",
    [
        "(" * 48 + "claude > 5%" + ")" * 48,
        "not " * 99 + "claude.up",
        "-" * 97 + "claude.used > 5",
        "1 + " * 48 + "claude.used > 5",
        " or ".join(["claude > 5%"] * 25),
    ],
)
def test_the_longest_conditions_are_parsed_and_printed(text):
    parsed = parse_condition(text)
    assert parse_condition(str(parsed)) == parsed


@pytest.mark.parametrize(
    ("when", "clear", "printed"),
    [
        ("claude.five_hour > 80%", "< 70%", "claude.five_hour < 70%"),
        ("80% < claude.five_hour", "< 70%", "claude.five_hour < 70%"),
        ("claude.seven_day < 50% and resets_in < 12h", "> 60%", "claude.seven_day > 60%"),
        ("*.session.exhausts_in < 45m and resets_in > 1h", ">= 2h", "*.session.exhausts_in >= 2h"),
        ("claude > 80%", "claude < 70% or resets_in < 5m", "claude < 70% or resets_in < 5m"),
        ("resets_in < 1h and codex > 80%", "resets_in > 2h", "resets_in > 2h"),
        ("claude.five_hour > 80%", "< 70% or resets_in < 5m", None),
    ],
)
def test_a_bare_clear_compares_what_when_compares_first(when, clear, printed):
    if printed is None:
        with pytest.raises(ExpressionError, match="unexpected `or`"):
            parse_clear(clear, parse_condition(when))
    else:
        assert str(parse_clear(clear, parse_condition(when))) == printed


def test_clear_may_use_the_level():
    when = parse_condition("*.weekly > level", level=LEVEL)
    assert str(parse_clear("< level - 10%", when, level=LEVEL)) == "*.weekly < 80% - 10%"


def test_a_bare_clear_has_its_units_checked():
    with pytest.raises(ExpressionError, match=r"`claude` is a percent, `2h` is a duration"):
        parse_clear("< 2h", parse_condition("claude > 80%"))


def test_a_bare_clear_needs_a_comparison_in_when():
    with pytest.raises(ExpressionError, match="`when` has no comparison"):
        parse_clear("< 2h", parse_condition("not claude.up"))


@pytest.mark.parametrize(
    ("text", "value", "unit"),
    [
        ("80%", 80, Unit.PERCENT),
        ("0.5%", 0.5, Unit.PERCENT),
        ("45m", 2700, Unit.DURATION),
        ("1h30m", 5400, Unit.DURATION),
        ("1.5h", 5400, Unit.DURATION),
        ("7d", 604800, Unit.DURATION),
        ("2w", 1209600, Unit.DURATION),
        ("$12.50", 12.5, Unit.MONEY),
        ("50", 50, Unit.NUMBER),
        ("1e3", 1000, Unit.NUMBER),
        ("-5%", -5, Unit.PERCENT),
    ],
)
def test_literals(text, value, unit):
    assert parse_literal(text) == Literal(text, value, unit)


@pytest.mark.parametrize("text", ["", "claude", "80% 90%", "level", "(80%)"])
def test_anything_but_one_literal_is_refused(text):
    with pytest.raises(ExpressionError):
        parse_literal(text)


def test_a_selector_alone():
    assert parse_selector("claude[me].five_hour") == (Selector("claude", "me", "five_hour"), "")
    assert parse_selector("copilot.remaining") == (Selector("copilot"), "remaining")
    for text in ("resets_in", "claude.five_hour > 5%", "80%", "nobody.daily"):
        with pytest.raises(ExpressionError):
            parse_selector(text)


# --- properties ---

SELECTORS = [
    ("claude", ""), ("claude", "five_hour"), ("copilot", ""), ("codex", "9h"), ("*", "weekly"), ("*", "*"),
    ("gemini_cli", "gemini_2_5_pro"), ("nano_gpt", "balance_usd"),
]  # fmt: skip
FIELDS = {
    Unit.PERCENT: ["used_percent", "remaining_percent", "rate", "projected"],
    Unit.DURATION: ["resets_in", "window", "age", "exhausts_in"],
}
TEXTS = {
    Unit.PERCENT: st.integers(0, 120).map("{}%".format),
    Unit.DURATION: st.sampled_from(["45m", "2h", "1h30m", "7d", "1w2d"]),
}


@st.composite
def measured(draw, unit):
    provider, window = draw(st.sampled_from(SELECTORS))
    account = draw(st.sampled_from(["", "me@example.com", "Ann Example"]))
    selector = Selector(provider, account, window)
    field = draw(st.sampled_from(FIELDS[unit]))
    spelling = str(selector) if provider == "claude" and field == "used_percent" else f"{selector}.{field}"
    return FieldReference(spelling, selector, field)


def values(unit):
    literals = TEXTS[unit].map(parse_literal)
    leaves = st.one_of(measured(unit), literals)
    return st.recursive(
        leaves,
        lambda part: st.one_of(
            part.map(Negative),
            st.tuples(part, st.sampled_from("+-"), part).map(lambda made: Arithmetic(*made)),
            st.tuples(part, st.sampled_from("*/"), st.integers(1, 9).map(str).map(parse_literal)).map(
                lambda made: Arithmetic(*made)
            ),
        ),
        max_leaves=4,
    )


@st.composite
def comparison(draw):
    unit = draw(st.sampled_from(list(TEXTS)))
    operator = draw(st.sampled_from([">", ">=", "<", "<=", "==", "!="]))
    return Comparison(draw(measured(unit)), operator, draw(values(unit)), unit)


CONDITIONS = st.recursive(
    st.one_of(comparison(), st.just(FieldReference("claude.up", Selector("claude"), "up"))),
    lambda part: st.one_of(
        part.map(Not),
        st.lists(part, min_size=2, max_size=3).map(tuple).map(And),
        st.lists(part, min_size=2, max_size=3).map(tuple).map(Or),
    ),
    max_leaves=6,
)


@given(CONDITIONS)
def test_every_expression_is_parsed_back_from_its_text(tree):
    assert parse_condition(str(tree)) == tree


@given(st.text(alphabet="claude.five_hour*[]()<>=!%$ 0123456789andornotlevel-+/\n\x00é", max_size=60))
@example("claude[" + "]" * 20)
def test_any_text_is_parsed_or_refused_within_its_bounds(text):
    try:
        tree = parse_condition(text, level=LEVEL)
    except ExpressionError as error:
        within, printed = 0 <= error.start < error.end <= len(text) + 1, "\n" not in error.message
    else:
        within, printed = True, str(parse_condition(str(tree), level=LEVEL)) == str(tree)
    assert (within, printed) == (True, True)


@given(st.sampled_from(Unit), st.sampled_from(Unit))
def test_the_common_unit_does_not_depend_on_the_order(left, right):
    assert find_common_unit(left, right) == find_common_unit(right, left)


@given(st.one_of(st.text(max_size=40), st.text(max_size=20).map("claude.five_hour > 80% and {}".format)))
def test_any_text_gives_a_result_or_an_expression_error(text):
    when = parse_condition("claude.five_hour > 80% and resets_in < 1h")
    for read in (parse_condition, parse_literal, parse_selector, lambda clear: parse_clear(clear, when)):
        try:
            found = read(text)
        except ExpressionError as error:
            found = error.message
        assert found


SERIES = Series(provider="claude", window="five_hour", account="8f1c")


@pytest.mark.parametrize(
    ("selector", "matches"),
    [
        (Selector("claude", "", "five_hour"), True),
        (Selector("claude", "", "seven_day"), False),
        (Selector("codex", "", "five_hour"), False),
        (Selector("*", "", "five_hour"), True),
        (Selector("claude", "", "*"), True),
        (Selector("*", "", "*"), True),
        (Selector("*", "", "session"), True),
        (Selector("claude", "", "session"), True),
        (Selector("*", "", "weekly"), False),
        (Selector("claude", "8f1c", "five_hour"), True),
        (Selector("claude", "Me@Example.com", "five_hour"), True),
        (Selector("claude", "you@example.com", "five_hour"), False),
    ],
)
def test_a_selector_matches_by_provider_account_and_window(selector, matches):
    assert selector.matches(SERIES, "me@example.com", WindowKind.SESSION, is_primary=False) is matches


def test_without_a_window_the_primary_one_matches():
    assert Selector("claude").matches(SERIES, "", WindowKind.SESSION, is_primary=True)
    assert not Selector("claude").matches(SERIES, "", WindowKind.SESSION, is_primary=False)


def test_a_kind_that_is_also_a_window_of_the_provider_is_the_window():
    review = Series(provider="codex", window="code_review_weekly")
    weekly = Series(provider="codex", window="weekly")
    assert Selector("*", "", "weekly").matches(review, "", WindowKind.WEEKLY, is_primary=False)
    assert not Selector("codex", "", "weekly").matches(review, "", WindowKind.WEEKLY, is_primary=False)
    assert Selector("codex", "", "weekly").matches(weekly, "", WindowKind.WEEKLY, is_primary=False)
    claude = Series(provider="claude", window="seven_day")
    assert Selector("claude", "", "weekly").matches(claude, "", WindowKind.WEEKLY, is_primary=False)


def test_a_series_without_an_account_does_not_match_a_named_account():
    nameless = Series(provider="claude", window="five_hour")
    assert not Selector("claude", "me@example.com", "five_hour").matches(
        nameless, "", WindowKind.SESSION, is_primary=True
    )
