"""What docs/ says is so."""

from docs import make_dictionary


def test_the_data_dictionary_is_what_the_schema_says() -> None:
    assert make_dictionary.FILE.read_text(encoding="utf-8") == make_dictionary.text(), "run `make docs`"
