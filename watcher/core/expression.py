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

from watcher.core.parser import COMPARISON_OPERATORS, MAX_DEPTH, ParsedNode, Parser
from watcher.core.selector import Selector
from watcher.core.tokens import (
    MAX_CONDITION_LENGTH,
    ExpressionError,
    parse_literal_token,
    parse_selector_token,
    quote_text,
)
from watcher.core.tree import (
    Expression,
    FieldLookup,
    Literal,
    evaluate_boolean,
    is_constant,
    iter_comparisons,
    iter_field_references,
)
from watcher.core.vocabulary import FIELD_UNITS

__all__ = [
    "MAX_CONDITION_LENGTH",
    "MAX_DEPTH",
    "Expression",
    "ExpressionError",
    "FieldLookup",
    "Literal",
    "evaluate_boolean",
    "find_subject",
    "parse_clear",
    "parse_condition",
    "parse_literal",
    "parse_selector",
]


def parse_condition(text: str, *, level: Literal | None = None, subject: Selector | None = None) -> Expression:
    """The condition that the text states.

    Args:
        text: one condition, as in a rule's `when`.
        level: what the word `level` stands for; None: the word is an error.
        subject: whose fields the bare ones are; None: the first selector in the text.

    Raises:
        ExpressionError: with the place, and what would be valid.
    """
    parser = Parser(text, level, subject)
    return parser.parse_all().node


def parse_clear(text: str, when: Expression, *, level: Literal | None = None) -> Expression:
    """The condition of a rule's `clear`: a whole one, or a bare comparison such as `< 70%`.

    A bare comparison is about the measured side of the first comparison in `when`.

    Raises:
        ExpressionError: with the place, and what would be valid.
    """
    parser = Parser(text, level, find_subject(when))
    if parser.next_token.text not in COMPARISON_OPERATORS:
        return parser.parse_all().node
    first = next(iter_comparisons(when), None)
    if first is None:
        raise ExpressionError(
            "`when` compares nothing that this could be about", 0, len(text), "write a whole condition"
        )
    measured, unit = (first.right if is_constant(first.left) else first.left), first.unit
    return parser.parse_all(ParsedNode(measured, unit, 0, 0)).node


def parse_literal(text: str) -> Literal:
    """One literal, as in a rule's `levels`.

    Raises:
        ExpressionError: it is none, or more than one.
    """
    parser = Parser(text, None, None)
    token = parser.advance()
    negative = token.text == "-"
    token = parser.advance() if negative else token
    if token.kind != "amount" or parser.next_token.kind != "end":
        raise ExpressionError(f"{quote_text(text)} is not one value", 0, len(text), "valid: `80%`, `2h`, `$5` or `50`")
    literal = parse_literal_token(token)
    return Literal("-" + literal.text, -literal.value, literal.unit) if negative else literal


def parse_selector(text: str) -> tuple[Selector, str]:
    """A selector by itself, and the field after it, empty where none is named: `claude[me].five_hour`.

    Raises:
        ExpressionError: it is none, or names something unknown.
    """
    parser = Parser(text, None, None)
    token = parser.advance()
    if token.kind != "selector" or parser.next_token.kind != "end" or token.text in FIELD_UNITS:
        raise ExpressionError(f"{quote_text(text)} is not a series", 0, len(text), "valid: such as `claude.five_hour`")
    return parse_selector_token(token)


def find_subject(expression: Expression) -> Selector:
    """The selector that the rule is about: the first in the text. Every condition has one."""
    return next(iter_field_references(expression)).selector
