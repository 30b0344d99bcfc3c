"""What is printed: JSON has standard output for itself, and no name or reason controls the terminal."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

from regbench.cli._shared.output import echo, echo_json, stdout_for_json
from regbench.plugins.registry import registry
from tests.distributions import write_plugin
from tests.e2e.conftest import inline, packs  # noqa: F401  (fixtures)

LOUD = """
import os, sys, atexit
print("hello from Python")
os.write(1, b"hello from C\\n")
from regbench import hookimpl
@hookimpl
def register_datasets(register):
    register("loud", "loud_reader:Loud", summary=SUMMARY)
"""
READER = 'print("hello from the reader")\nraise OSError("no \\x1b[31m[/opt/lib.so] rasterio[s3] :smile: ")\n'


@pytest.fixture
def plugin(tmp_path, monkeypatch):
    """A plugin that prints when it is imported; its summary and its reason hold markup and terminal escapes."""
    before = set(sys.modules)
    write_plugin(tmp_path, "loud", LOUD.replace("SUMMARY", repr("thermal [bold]\x1b]0;title\x07\nsecond line")))
    (tmp_path / "loud_reader.py").write_text(READER)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("REGBENCH_LOAD_PLUGINS", raising=False)
    registry.cache_clear()
    yield tmp_path
    registry.cache_clear()
    for name in set(sys.modules) - before:
        if name in ("loud", "loud_reader"):
            del sys.modules[name]


def test_json_has_standard_output_for_itself(plugin):
    code = f"import sys; sys.path.insert(0, {str(plugin)!r}); from regbench.cli import main; main()"
    for words in (["plugins", "list"], ["datasets", "list"], ["plugins", "matrix"]):
        done = subprocess.run(
            [sys.executable, "-c", code, *words, "--json"], capture_output=True, text=True, check=True
        )
        assert json.loads(done.stdout)
        assert "hello from Python" in done.stderr
        assert "hello from C" in done.stderr
    assert json.loads(done.stdout)


def test_what_is_printed_meanwhile_goes_to_stderr_and_stdout_comes_back(capsys):
    with stdout_for_json():
        print("from a library")
        echo_json("{}")
    echo("after")
    said = capsys.readouterr()
    assert said.out == "{}\nafter\n"
    assert said.err == "from a library\n"


@pytest.mark.parametrize("words", [["datasets", "list"], ["plugins", "list"]], ids=" ".join)
def test_names_and_reasons_are_printed_as_they_are(plugin, inline, words):  # noqa: F811
    done = inline(*words)
    assert done.code == 0, done.err
    assert "\x1b]0" not in done.out
    assert "\x07" not in done.out
    assert "hello" not in done.out.replace("hello from C", "")
    text = "".join(done.out.split())
    if words[0] == "datasets":  # the reason stands in place of the summary
        assert r"no\x1b[31m[/opt/lib.so]rasterio[s3]:smile:" in text
    else:
        assert r"thermal[bold]\x1b]0;title\x07secondline" in text


def test_a_name_in_an_error_does_not_control_the_terminal(inline):  # noqa: F811
    done = inline("evaluate", "--registrator", "\x1b[2Jsift")
    assert done.code == 2
    assert "\x1b" not in done.err
    echo("\x1b[2J bold", bold=True, err=True)


def test_a_name_that_looks_like_a_number_is_no_number(inline, monkeypatch, tmp_path):  # noqa: F811
    before = set(sys.modules)
    code = "from regbench import hookimpl\n@hookimpl\ndef register_registrators(register):\n"
    write_plugin(tmp_path, "numbered", code + "    register('1e3', 'numbered:R', summary='s')\n")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("REGBENCH_LOAD_PLUGINS", raising=False)
    registry.cache_clear()
    try:
        assert " 1e3 " in inline("plugins", "matrix").out.splitlines()[0] + " "
    finally:
        registry.cache_clear()
        for name in set(sys.modules) - before:
            if name == "numbered":
                del sys.modules[name]


def test_a_reader_who_stops_reading_is_no_fault_of_a_component():
    """As ``regbench ... | head -1`` does."""
    unread, stdout = os.pipe()
    os.close(unread)
    done = subprocess.run([sys.executable, "-um", "regbench", "recipes", "list"], stdout=stdout, stderr=subprocess.PIPE)
    os.close(stdout)
    assert (done.stderr, done.returncode) == (b"", 1)
