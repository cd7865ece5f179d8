import pytest

from sngan_tf.errors import UserError
from sngan_tf.studies import page

PLACE = "before\n\n<!-- table a b -->\nold\n<!-- end -->\n\nafter\n"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "page.md"


def test_table_takes_its_place(file):
    file.write_text(PLACE + PLACE.replace("a b", "c"))
    assert page.fill(file, {"a b": ["| x |", "| - |"], "none": ["y"]}) == [file]
    text = file.read_text()
    first = "<!-- table a b -->\n\n| x |\n| - |\n\n<!-- end -->\n\nafter\n"
    assert text == f"before\n\n{first}" + PLACE.replace("a b", "c")
    page.fill(file, {"a b": ["| x |", "| - |"]})
    assert file.read_text() == text


def test_page_without_a_place_stays(file):
    assert page.fill(file, {"a b": ["x"]}) == []
    file.write_text("nothing\n")
    assert page.fill(file, {"a b": ["x"]}) == []
    assert file.read_text() == "nothing\n"


def test_place_without_end_is_refused(file):
    file.write_text("<!-- table a b -->\nold\n")
    with pytest.raises(UserError, match="must end the table a b by"):
        page.fill(file, {"a b": ["x"]})
