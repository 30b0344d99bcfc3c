"""Texts of unknown origin control no terminal and name no other folder."""

import pytest

from regbench.texts import is_folder_name, one_line, printable


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain [/bold] $x$ é 图\n\tend", "plain [/bold] $x$ é 图\n\tend"),
        ("\x1b[31mred\x1b]0;title\x07", r"\x1b[31mred\x1b]0;title\x07"),
        ("over\rwritten\x08\x7f\x9b", r"over\x0dwritten\x08\x7f\x9b"),
        ("a\u202eb\u2066c\u2028", r"a\u202eb\u2066c\u2028"),
        ("\udcb0\udcc4.png", r"\xb0\xc4.png"),
    ],
)
def test_control_characters_are_shown(text, shown):
    assert printable(text) == shown
    shown.encode()  # can be written to a file


def test_one_line_is_one_line():
    assert one_line(" two\nlines \x1b[0m ") == r"two lines \x1b[0m"


@pytest.mark.parametrize("name", ["board", "embedded-quick", "a b", "v1.2", "日本", "AUC@3"])
def test_names_of_folders(name):
    assert is_folder_name(name)


@pytest.mark.parametrize(
    "name", ["", ".", "..", ".x", "a/b", "../x", "/a", "a\\b", "C:a", " a", "a ", "a.", "a\nb", "a\x1b", "x" * 201]
)
def test_names_of_no_folder(name):
    assert not is_folder_name(name)
