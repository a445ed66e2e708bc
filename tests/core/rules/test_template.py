import pytest

from watcher.core.rules.parser import ExpressionError
from watcher.core.rules.template import check_template, render_template


def refusal(text):
    with pytest.raises(ExpressionError) as caught:
        check_template(text)
    return str(caught.value)


def test_names_and_formats_are_filled():
    text = "{provider} {window} at {used_percent:.0f} %, {{as meant}}"
    check_template(text)
    assert render_template(text, {"provider": "Claude", "window": "5-hour window", "used_percent": 81.6}) == (
        "Claude 5-hour window at 82 %, {as meant}"
    )


def test_an_unknown_value_is_a_question_mark():
    assert render_template("{used_percent:.0f} % used, {error}", {"used_percent": None}) == "? % used, ?"


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{provder}", 'unknown field "{provder}": did you mean {provider}?'),
        ("{provider.__class__}", 'unknown field "{provider.__class__}": a name alone is valid, without . or []'),
        ("{error[0]}", 'unknown field "{error[0]}": a name alone is valid, without . or []'),
        ("{error!r}", '"{error}": only a name and a format are valid here, as in {used_percent:.0f}'),
        ("{used:{limit}}", '"{used}": only a name and a format are valid here, as in {used_percent:.0f}'),
        ("{provider:.0f}", '"{provider:.0f}": provider is a text, as in :>8; ".0f" is no format of it'),
        ("{used:999999999f}", '"{used:999999999f}": used is a number, as in :.0f; "999999999f" is no format of it'),
        ("{used:<05f}", '"{used:<05f}": used is a number, as in :.0f; "<05f" is no format of it'),
        ("{used", "expected '}' before end of string; write {{ and }} for literal braces"),
    ],
)
def test_everything_else_is_refused_with_what_would_be_valid(text, said):
    assert refusal(text) == said


def test_an_empty_field_is_refused():
    assert refusal("{}").startswith('unknown field "{}": valid are provider, account, window, ')
