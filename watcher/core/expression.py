"""The rule language: text to a checked tree. Small enough to read whole, and every mistake points at its place.

::

    condition  = all { "or" all }
    all        = one { "and" one }
    one        = "not" one | comparison
    comparison = sum [ ( ">" | ">=" | "<" | "<=" | "==" | "!=" ) sum ]
    sum        = product { ( "+" | "-" ) product }
    product    = factor { ( "*" | "/" ) factor }
    factor     = "-" factor | "(" condition ")" | literal | "level" | field | selector
    literal    = 80% | 45m | 1h30m | $12.50 | 50 | true | false
    selector   = provider [ "[" account "]" ] [ "." window ] [ "." field ]        provider and window may be "*"

Units are checked while reading, so a tree that exists has a meaning. Never put IO or a reading here.
"""

from watcher.core.parser import COMPARING, DEEPEST, Parser, Part
from watcher.core.selector import Selector
from watcher.core.tokens import LONGEST_TEXT, ExpressionError, literal_of, selector_of, shown
from watcher.core.tree import Expression, Literal, Value, comparisons, evaluate, is_constant, measures
from watcher.core.vocabulary import FIELDS

__all__ = [
    "DEEPEST",
    "LONGEST_TEXT",
    "Expression",
    "ExpressionError",
    "Literal",
    "Value",
    "evaluate",
    "parse",
    "parse_clear",
    "parse_literal",
    "parse_selector",
    "subject_of",
]


def parse(text: str, *, level: Literal | None = None, subject: Selector | None = None) -> Expression:
    """The condition that the text states.

    Args:
        text: one condition, as in a rule's `when`.
        level: what the word `level` stands for; None: the word is an error.
        subject: whose fields the bare ones are; None: the first selector in the text.

    Raises:
        ExpressionError: with the place, and what would be valid.
    """
    parser = Parser(text, level, subject)
    return parser.whole().node


def parse_clear(text: str, when: Expression, *, level: Literal | None = None) -> Expression:
    """The condition of a rule's `clear`: a whole one, or a bare comparison such as `< 70%`.

    A bare comparison is about the measured side of the first comparison in `when`.

    Raises:
        ExpressionError: with the place, and what would be valid.
    """
    parser = Parser(text, level, subject_of(when))
    if parser.next.text not in COMPARING:
        return parser.whole().node
    first = next(comparisons(when), None)
    if first is None:
        raise ExpressionError(
            "`when` compares nothing that this could be about", 0, len(text), "write a whole condition"
        )
    measured, unit = (first.right if is_constant(first.left) else first.left), first.unit
    return parser.whole(Part(measured, unit, 0, 0)).node


def parse_literal(text: str) -> Literal:
    """One literal, as in a rule's `levels`.

    Raises:
        ExpressionError: it is none, or more than one.
    """
    parser = Parser(text, None, None)
    token = parser.take()
    negative = token.text == "-"
    token = parser.take() if negative else token
    if token.kind != "amount" or parser.next.kind != "end":
        raise ExpressionError(f"{shown(text)} is not one value", 0, len(text), "valid: `80%`, `2h`, `$5` or `50`")
    literal = literal_of(token)
    return Literal("-" + literal.text, -literal.worth, literal.unit) if negative else literal


def parse_selector(text: str) -> tuple[Selector, str]:
    """A selector by itself, and the field after it, empty where none is named: `claude[me].five_hour`.

    Raises:
        ExpressionError: it is none, or names something unknown.
    """
    parser = Parser(text, None, None)
    token = parser.take()
    if token.kind != "selector" or parser.next.kind != "end" or token.text in FIELDS:
        raise ExpressionError(f"{shown(text)} is not a series", 0, len(text), "valid: such as `claude.five_hour`")
    return selector_of(token)


def subject_of(expression: Expression) -> Selector:
    """The selector that the rule is about: the first in the text. Every condition has one."""
    return next(measures(expression)).selector
