"""What a result keeps of code that is not this project's."""

from __future__ import annotations

from regbench.installed import is_official
from regbench.plugins.others import third_party
from regbench.plugins.registry import Component


def component(target: str, distribution: str) -> Component:
    return Component("registrator", "mine", target, distribution=distribution, version="1.0")


def test_the_files_of_a_package_of_others_are_hashed(tmp_path, monkeypatch):
    package = tmp_path / "their_code"
    package.mkdir()
    (package / "__init__.py").write_text("")
    (package / "mine.py").write_text("x = 1\n")
    (tmp_path / "their_single.py").write_text("x = 1\n")
    monkeypatch.syspath_prepend(tmp_path)
    parts = [component("their_code.mine:Mine", "theirs"), component("their_single:X", "single")]
    own = component("regbench_registrators.mcnet:MCNet", "regbench-registrators")
    before = third_party([*parts, own])
    assert list(before) == ["single", "theirs"]
    assert before["single"] != before["theirs"]
    (package / "__pycache__").mkdir()
    (package / "__pycache__" / "mine.pyc").write_bytes(b"x")
    assert third_party(parts) == before
    (package / "mine.py").write_text("x = 2\n")
    after = third_party(parts)
    assert after["theirs"] != before["theirs"]
    assert after["single"] == before["single"]


def test_code_without_files_has_no_hash():
    assert third_party([component("no_such_package.x:X", "theirs")]) == {"theirs": None}


def test_official_is_a_matter_of_names():
    assert all(is_official(name) for name in ("regbench", "regbench-matchers", "Regbench_Strategies"))
    assert not any(is_official(name) for name in ("regbench-example", "regbench-mine", "mine", ""))
