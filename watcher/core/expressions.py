"""JMESPath expressions of the config: compiled with the place of a mistake, evaluated within bounds.

Imported only where a provider or a channel has one. JMESPath has no loops, but `[@,@][]` written forty times would fill
memory: what an expression makes is counted, and too much of it ends the evaluation.
"""

from functools import lru_cache
from typing import Any

from jmespath import exceptions, functions, parser, visitor

from watcher.core.formatting import clean_text
from watcher.errors import ShapeChangedError

MAX_LENGTH = 1000
MAX_STEPS = 1_000_000  # nodes visited and elements made for one answer: about a second

_HINT = 'write a text in single quotes, a number in backticks, a name such as "a-b" in double quotes'


class ExpressionError(ValueError):
    """A mistake in an expression, with its place in the text."""

    def __init__(self, message: str, start: int = 0, end: int = 0) -> None:
        super().__init__(message)
        self.start, self.end = start, max(end, start + 1)


@lru_cache(maxsize=1024)
def compile_expression(text: str) -> dict[str, Any]:
    """The syntax tree.

    Raises:
        ExpressionError: it is not JMESPath, or calls a function that JMESPath does not have.
    """
    if len(text) > MAX_LENGTH:
        raise ExpressionError(f"longer than {MAX_LENGTH:,} characters", MAX_LENGTH, len(text))
    try:
        tree: dict[str, Any] = parser.Parser().parse(text).parsed
    except (exceptions.JMESPathError, RecursionError, ValueError) as error:
        start = getattr(error, "lexer_position", getattr(error, "lex_position", 0))
        word = str(getattr(error, "lexer_value", getattr(error, "token_value", "")) or "")
        message = f"not JMESPath: unexpected `{word}`; {_HINT}" if word else "the expression is not complete"
        raise ExpressionError(message, start, start + len(word)) from None
    _check_functions(tree, text)
    return tree


def _check_functions(node: Any, text: str) -> None:
    if not isinstance(node, dict):
        return
    if node.get("type") == "function_expression" and node["value"] not in functions.Functions.FUNCTION_TABLE:
        start = max(text.find(f"{node['value']}("), 0)
        raise ExpressionError(f"JMESPath has no function `{node['value']}`", start, start + len(node["value"]))
    for child in node.get("children", ()):
        _check_functions(child, text)


class Evaluator:
    """Evaluates the expressions of one provider or channel on one answer; they share one budget."""

    def __init__(self, name: str) -> None:
        self._name, self._interpreter = name, _Interpreter()

    def search(self, text: str, data: Any) -> Any:
        """The value; None where the data has another shape.

        Raises:
            ShapeChangedError: the budget is spent.
        """
        try:
            return self._interpreter.visit(compile_expression(text), data)
        except _BudgetSpentError:
            message = f"{self._name}: `{clean_text(text, 80)}` takes too long on this answer: simplify it"
            raise ShapeChangedError(message) from None
        except (exceptions.JMESPathError, TypeError, ValueError, AttributeError, RecursionError):
            return None

    def is_true(self, text: str, data: Any) -> bool:
        """Whether the value is true as JMESPath has it: anything but null, false and what is empty."""
        value = self.search(text, data)
        return not (value is None or value is False or value in ("", [], {}))


class _BudgetSpentError(Exception):
    pass


class _Interpreter(visitor.TreeInterpreter):
    """Counts what it visits and makes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self._left = MAX_STEPS

    def visit(self, node: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        result = super().visit(node, *args, **kwargs)  # type: ignore[no-untyped-call]
        self._spend(1 + (len(result) if isinstance(result, (list, str)) else 0))
        if node["type"] in ("multi_select_list", "multi_select_dict"):
            self._measure(result)
        return result

    def _spend(self, steps: int) -> None:
        self._left -= steps
        if self._left < 0:
            raise _BudgetSpentError

    def _measure(self, value: Any) -> None:
        """Spend the size of a made value: one that holds itself twice, again and again, is small only in memory."""
        waiting = [value]
        while waiting:
            each = waiting.pop()
            self._spend(1)
            waiting += each if isinstance(each, list) else each.values() if isinstance(each, dict) else ()
