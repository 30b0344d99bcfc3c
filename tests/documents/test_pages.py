"""The site holds together: every page is in its navigation, every link leads somewhere, every command exists."""

import importlib.util
import os
import re
import shlex

import click
import pytest

from regbench.cli import app
from regbench.errors import UsageError
from tests.documents.blocks import ROOT, blocks_of

DOCS = ROOT / "docs"
MARKDOWN = sorted(
    [*DOCS.rglob("*.md"), *ROOT.glob("*.md"), *(ROOT / "plugins").rglob("*.md"), ROOT / "leaderboards" / "README.md"]
)
LINK = re.compile(r"!?\[[^\]]*\]\(([^)\s]+)\)")
COMMANDS = [
    (page, block.line, command)
    for page in MARKDOWN
    for block in blocks_of(page)
    for line in block.commands
    for command in re.split(r"&&|\|\|?|;", line)
    if command.split()[:1] == ["regbench"]
]


def reference():
    spec = importlib.util.spec_from_file_location("reference", DOCS / "_build" / "reference.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def slug(head):
    """The anchor that Markdown makes of a head."""
    return re.sub(r"[\s-]+", "-", re.sub(r"[^\w\s-]", "", head.strip().lower()))


def prose(text):
    """A page without its code, in which brackets are no links."""
    return re.sub(r"`[^`\n]*`", "", re.sub(r"^ *```.*?^ *```", "", text, flags=re.M | re.S))


def test_every_page_is_in_the_navigation_and_there():
    nav = (ROOT / "mkdocs.yml").read_text().partition("\nnav:\n")[2]
    listed = re.findall(r": ([\w/-]+\.md)$", nav, re.M)
    pages = {path.relative_to(DOCS).as_posix() for path in DOCS.rglob("*.md")}
    assert sorted(listed) == sorted(set(listed)), "a page is listed once"
    assert set(listed) == pages


@pytest.mark.parametrize("page", MARKDOWN, ids=lambda p: p.relative_to(ROOT).as_posix())
def test_every_link_leads_somewhere(page):
    for target in LINK.findall(prose(page.read_text(encoding="utf-8"))):
        if re.match(r"[a-z]+:", target):
            continue
        path, _, anchor = target.partition("#")
        found = (page.parent / path).resolve() if path else page
        assert found.exists(), f"{page}: {target} is not there"
        if anchor and found.suffix == ".md":
            heads = {slug(head) for head in re.findall(r"^#+ (.+)$", found.read_text(encoding="utf-8"), re.M)}
            assert anchor in heads, f"{page}: {target} names no head of that page"


def test_pages_written_from_code_are_current():
    for path, text in reference().pages().items():
        assert path.read_text(encoding="utf-8") == text, f"stale: {path}; run `python docs/_build/reference.py`"


def test_a_table_of_settings_follows_the_settings():
    table = reference().settings_table("registrator", "mcnet4")
    assert "| `scales` | `4` |" in table, "an alias shows its own value"


def test_every_environment_variable_is_documented():
    sources = [*(ROOT / "regbench").rglob("*.py"), *(ROOT / "plugins").rglob("src/**/*.py")]
    used = {name for path in sources for name in re.findall(r'"(REGBENCH_[A-Z_]+)"', path.read_text(encoding="utf-8"))}
    told = set(re.findall(r"^\| `(\w+)` \|", (DOCS / "reference" / "environment.md").read_text(), re.M))
    assert "REGBENCH_DATA" in used
    assert used - told == set()
    assert {name for name in told if name.startswith("REGBENCH_")} - used == set()


@pytest.mark.parametrize(
    ("page", "line", "command"),
    COMMANDS,
    ids=[f"{page.relative_to(ROOT).as_posix()}:{line}-{n}" for n, (page, line, _) in enumerate(COMMANDS)],
)
def test_every_command_exists_with_its_options(page, line, command, tmp_path, monkeypatch):
    """Also those that are not run: the verb is there, its options are, and nothing is missing or too much."""
    monkeypatch.chdir(tmp_path)  # so that * stands for itself
    words = shlex.split(command, comments=True)[1:]
    context = click.Context(app, info_name="regbench")
    group = app
    try:
        while isinstance(group, click.Group) and words and not words[0].startswith("-"):
            found = group.get_command(context, words[0])
            assert found is not None, f"{page}:{line}: no command {words[0]!r} in {command!r}"
            group, words = found, words[1:]
        group.make_context("regbench", list(words), resilient_parsing=False)
    except click.exceptions.Exit:
        pass  # --help, --version
    except UsageError:
        pass  # a path that is not there
    except click.UsageError as error:
        if "does not exist" not in error.message:
            pytest.fail(f"{page}:{line}: {command!r}: {error.format_message()}")


def test_a_wrong_option_would_be_found():
    found = app.get_command(click.Context(app), "run")
    with pytest.raises(click.UsageError):
        found.make_context("run", ["--no-such-option"])


@pytest.mark.slow
def test_mkdocs_builds_it_without_a_warning(tmp_path):
    pytest.importorskip("mkdocs")
    pytest.importorskip("material")
    import subprocess
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", str(tmp_path / "site")],
        cwd=ROOT, env=os.environ | {"NO_MKDOCS_2_WARNING": "1"}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "WARNING" not in done.stderr, done.stderr
    assert (tmp_path / "site" / "index.html").is_file()
