import tomllib

from watcher.cli import output


def test_a_short_list_is_one_line_and_a_long_one_is_not():
    document = {"short": ["a", "b, ]"], "long": ["x" * 60, "y" * 60], "none": [], "deep": [["a"]]}
    text = output.format_toml(document)
    assert text.splitlines()[0] == 'short = ["a", "b, ]"]'
    assert text.splitlines()[1] == "long = ["
    assert tomllib.loads(text) == document


def test_a_text_that_looks_like_a_list_is_left_alone():
    document = {"text": "a = [\n    b,\n]\n"}
    assert tomllib.loads(output.format_toml(document)) == document
