from tests.cli.charts import example


def test_the_picture_in_the_readme_is_what_is_drawn_today():
    drawn = example.FILE.read_text("utf-8") == example.draw()
    assert drawn, "look at it, then: python -m tests.cli.charts.example"
    readme = (example.FILE.parents[1] / "README.md").read_text("utf-8")
    assert "(docs/usage.svg)" in readme
