"""Discovery: broken plugins are rows that say why, and everything is looked up by name without importing it."""

import dataclasses
import inspect
import shutil
import sys
from pathlib import Path
from typing import get_args

import pytest

from regbench.errors import PluginError, UsageError
from regbench.installed import CORE, OFFICIAL, offers
from regbench.plugins import hookspecs
from regbench.plugins.compatibility import check_compatible, incompatible, unpublished_combination
from regbench.plugins.official import NAMES
from regbench.plugins.register import Control
from regbench.plugins.registry import ROLES, Component, registry
from regbench.results import provenance
from tests.distributions import write_plugin

HOOK = "from regbench import hookimpl\n@hookimpl\ndef register_registrators(register):\n    "
BROKEN = {
    "import-error": ("import no_such_module_of_anyone\n", "ModuleNotFoundError"),
    "syntax-error": ("def broken(:\n", "SyntaxError"),
    "exits": ("import sys\nsys.exit(3)\n", "SystemExit: 3"),
    "misspelt": (
        "from regbench import hookimpl\n@hookimpl\ndef register_registrator(register):\n    pass\n",
        "register_registrator",
    ),
    "unknown-argument": (
        "from regbench import hookimpl\n@hookimpl\ndef register_registrators(register, colour):\n    pass\n",
        "colour",
    ),
    "raises": (HOOK + "raise ValueError('one\\ntwo')\n", "ValueError: one two"),
    "name-with-a-colon": (HOOK + "register('a:b', 'mine:Mine')\n", "registrator 'a:b': a name is one line of"),
    "registers-twice": (HOOK + "[register('r', 'mine:Mine', summary='s') for _ in 'ab']\n", "registered twice"),
    "future-api": ("regbench_api_version = 99\n" + HOOK + "register('f', 'mine:Mine')\n", "needs plugin API 99"),
    "bad-target": (HOOK + "register('b', 'no.colon.in.it', summary='s')\n", "'package.module:Name'"),
    "bad-requirement": (HOOK + "register('q', 'mine:Mine', requires={'moon': ('full',)})\n", "moon"),
    "unknown-control": (
        HOOK + "register('c', 'mine:Mine', control='placebo')\n",
        "registrator 'c': a registrator can be the control 'identity' or 'no-training', got control='placebo'",
    ),
    "control-of-another-role": (
        HOOK + "register('c', 'mine:Mine', control='supervised')\n",
        "a registrator can be the control 'identity' or 'no-training', got control='supervised'",
    ),
    "dataset-as-control": (
        HOOK.replace("registrators", "datasets") + "register('c', 'mine:Mine', control='identity')\n",
        "dataset 'c': a dataset cannot be a control, got control='identity'",
    ),
    "empty-name": (HOOK + "register('', 'mine:Mine')\n", "registrator '': a name is one line of printable text"),
    "name-of-two-lines": (HOOK + "register('a\\nb', 'mine:Mine')\n", "a name is one line of printable text"),
    "name-with-an-escape": (HOOK + "register('a\\x1b[2Jb', 'mine:Mine')\n", "a name is one line of printable text"),
    "name-that-is-a-path": (HOOK + "register('../x', 'mine:Mine')\n", "without separators of folders"),
    "name-of-no-text": (HOOK + "register(5, 'mine:Mine')\n", "registrator 5: a name is one line"),
    "no-name": (HOOK + "register(None, 'mine:Mine')\n", "registrator None: a name is one line"),
    "no-summary": (HOOK + "register('c', 'mine:Mine', summary=None)\n", "summary must be a text, got None"),
    "paper-of-no-text": (HOOK + "register('c', 'mine:Mine', paper=5)\n", "paper must be a text, got 5"),
    "config-of-no-json": (HOOK + "register('c', 'mine:Mine', config={'x': object})\n", "config must be settings"),
    "config-of-nan": (HOOK + "register('c', 'mine:Mine', config={'x': float('nan')})\n", "config must be settings"),
    "config-of-a-list": (HOOK + "register('c', 'mine:Mine', config=[1])\n", "list is no mapping"),
    "provides-a-word": (HOOK + "register('c', 'mine:Mine', provides='train')\n", "provides lists names"),
    "provides-a-number": (HOOK + "register('c', 'mine:Mine', provides=(1,))\n", "provides lists names"),
    "requires-a-list": (HOOK + "register('c', 'mine:Mine', requires=['train'])\n", "must be a mapping"),
    "requires-a-word": (
        HOOK + "register('c', 'mine:Mine', requires={'registrator': 'train'})\n",
        "requires lists names",
    ),
    "interrupts": ("raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "interrupts-in-a-hook": (HOOK + "raise KeyboardInterrupt\n", "KeyboardInterrupt"),
    "exits-in-a-hook": (HOOK + "raise SystemExit\n", "SystemExit"),
    "ends-generators": ("raise GeneratorExit\n", "GeneratorExit"),
    "recursion": ("def f():\n    f()\nf()\n", "RecursionError"),
    "registers-nothing": ("x = 1\n", "registers nothing"),
}
GOOD = HOOK + "register('fine-one', 'fine_parts:Fine', summary='works', provides=('train',))\n"


@pytest.fixture
def installed(tmp_path, monkeypatch):
    """Make plugins visible to this process alone; gives the function that installs one."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("REGBENCH_LOAD_PLUGINS", raising=False)
    before = set(sys.modules)
    registry.cache_clear()
    yield lambda name, code: write_plugin(tmp_path, name, code)
    registry.cache_clear()
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) and str(tmp_path) in sys.modules[name].__file__:
            del sys.modules[name]


def rows():
    return {p.distribution: p for p in registry().plugins}


def test_broken_plugins_say_why_and_stop_no_other(installed):
    for name, (code, _) in BROKEN.items():
        installed(name, code)
    installed("zz-fine", GOOD)
    found = rows()
    for name, (_, reason) in BROKEN.items():
        assert found[name].status == "failed", name
        assert reason in found[name].reason
        assert "\n" not in found[name].reason
        assert found[name].components == ()
    assert found["zz-fine"].status == "ok"
    assert registry().get("registrator", "fine-one").distribution == "zz-fine"
    assert registry().get("dataset", "synthetic").distribution == "regbench"


def test_a_plugin_registers_all_or_nothing(installed):
    installed("half", GOOD + "    register('half', 'no colon')\n")
    assert rows()["half"].status == "failed"
    with pytest.raises(UsageError, match="half"):  # the failed plugin is named: it may be what was meant
        registry().get("registrator", "fine-one")


def test_a_name_of_two_plugins_is_of_neither(installed):
    for name in ("aa-first", "bb-second", "cc-third"):
        installed(name, GOOD)
    assert {rows()[name].status for name in ("aa-first", "bb-second", "cc-third")} == {"ok"}
    with pytest.raises(UsageError, match=r"by several plugins: write aa-first:fine-one or bb-second:fine-one or cc-"):
        registry().get("registrator", "fine-one")
    assert registry().find("registrator", "fine-one") is None
    found = registry().get("registrator", "bb-second:fine-one")
    assert (found.distribution, found.name) == ("bb-second", "bb-second:fine-one"), "a run must record whose it is"
    assert "fine-one" not in {c.name for c in registry().all("registrator")}
    assert registry().shared_names("aa-first") == ["aa-first:fine-one"]


def test_official_names_stay_theirs(installed):
    installed("a-stranger", HOOK.replace("registrators", "datasets") + "register('synthetic', 'm:M', summary='s')\n")
    assert registry().get("dataset", "synthetic").distribution == "regbench"
    assert registry().get("dataset", "regbench:synthetic").name == "synthetic", "the full name gives the same run"
    assert registry().get("dataset", "a-stranger:synthetic").distribution == "a-stranger"


def test_the_full_name_is_always_understood(installed):
    installed("aa-first", GOOD)
    assert registry().get("registrator", "aa-first:fine-one").name == "fine-one"
    assert registry().get("registrator", "AA_first:fine-one").name == "fine-one"
    with pytest.raises(UsageError, match="unknown registrator 'bb:fine-one'"):
        registry().get("registrator", "bb:fine-one")


def test_one_distribution_cannot_register_a_name_twice(installed, tmp_path):
    installed("double", GOOD)
    (tmp_path / "other.py").write_text(GOOD)
    entries = tmp_path / "double-1.0.dist-info" / "entry_points.txt"
    entries.write_text(entries.read_text() + "other = other\n")
    states = [p for p in registry().plugins if p.distribution == "double"]
    assert [p.status for p in states] == ["ok", "failed"]
    assert "'fine-one' is already registered by double" in states[1].reason


@pytest.mark.parametrize(
    ("names", "expected"),
    [("", {"regbench"}), ("zz-fine", {"regbench", "zz-fine"}), ("zz_fine, other", {"regbench", "zz-fine"})],
)
def test_load_plugins_chooses(installed, monkeypatch, names, expected):
    installed("zz-fine", GOOD)
    monkeypatch.setenv("REGBENCH_LOAD_PLUGINS", names)
    assert set(rows()) == expected


def test_components_are_imported_on_use_and_fail_in_one_line(installed, tmp_path):
    installed("zz-fine", GOOD)
    component = registry().get("registrator", "fine-one")
    assert "fine_parts" not in sys.modules
    for code in ("import no_such_module_of_anyone", "import sys; sys.exit(1)", "Other = 1"):
        (tmp_path / "fine_parts.py").write_text(code)
        sys.modules.pop("fine_parts", None)
        sys.dont_write_bytecode, before = True, sys.dont_write_bytecode
        try:
            with pytest.raises(PluginError, match=r"registrator 'fine-one' of zz-fine cannot be imported") as caught:
                component.load()
        finally:
            sys.dont_write_bytecode = before
        assert "\n" not in str(caught.value)


def test_unknown_names_get_the_closest(installed):
    installed("zz-fine", GOOD)
    with pytest.raises(UsageError, match="did you mean 'fine-one'"):
        registry().get("registrator", "fineone")


def component(role, name, provides=(), requires=None):
    needs = {r: frozenset(w) for r, w in (requires or {}).items()}
    return Component(role, name, "m:C", provides=frozenset(provides), requires=needs)


def test_incompatible_gives_the_reason():
    plain, trained = component("registrator", "plain"), component("registrator", "trained", ["train"])
    still, learning = component("translator", "still"), component("translator", "learning", ["unpaired_training"])
    alone = component("strategy", "alone", requires={"registrator": ["train"]})
    both = component("strategy", "both", requires={"registrator": ["train"], "translator": ["unpaired_training"]})
    assert incompatible(None, None, plain) is None
    assert incompatible(None, still, plain) == "without a strategy nothing uses a translator"
    assert incompatible(alone, None, trained) is None
    assert incompatible(alone, None, plain) == "alone needs a registrator with train, which plain lacks"
    assert incompatible(alone, still, trained) == "alone uses no translator"
    assert incompatible(both, learning, trained) is None
    assert incompatible(both, None, trained) == "both needs a translator"
    assert incompatible(both, still, trained) == "both needs a translator with unpaired_training, which still lacks"
    with pytest.raises(UsageError, match="plugins matrix"):
        check_compatible(alone, None, plain)


def test_combinations_of_no_paper_are_those_a_strategy_does_not_name():
    first, second = component("registrator", "first"), component("registrator", "second")
    old, new = component("translator", "old"), component("translator", "new")
    published = {"registrator": frozenset({"first"}), "translator": frozenset({"old"})}
    named = dataclasses.replace(component("strategy", "named"), published=published)
    silent = component("strategy", "silent")
    assert not unpublished_combination(named, old, first)
    assert unpublished_combination(named, old, second)
    assert unpublished_combination(named, new, first)
    assert not unpublished_combination(named, None, first)
    assert not unpublished_combination(silent, new, second)
    assert not unpublished_combination(None, None, second)


def test_controls_are_what_plugins_register(installed):
    installed("other", HOOK + "register('still', 'other:Still', control='identity')\n")
    names = {control: [c.name for c in registry().controls(control)] for control in get_args(Control)}
    assert names["identity"] == sorted(["identity", "still"])
    assert {"contrast-randomised", "self-supervised"} <= set(names["no-translator"])
    assert {"rift", "sift"} <= set(names["no-training"])
    assert "copy-target" in names["no-translation"]
    assert "supervised" in names["supervised"]


def test_a_component_that_is_not_installed_is_not_found(installed):
    installed("zz-fine", GOOD)
    assert registry().find("registrator", "fine-one").distribution == "zz-fine"
    assert registry().find("registrator", "no-such-name") is None


def test_hook_specifications_are_short_and_documented():
    assert len(Path(hookspecs.__file__).read_text().splitlines()) <= 80
    hooks = [f for name, f in inspect.getmembers(hookspecs, inspect.isfunction) if name.startswith("register_")]
    assert {f.__name__ for f in hooks} == {
        f"register_{role}" for role in ("translators", "registrators", "strategies", "datasets", "metrics", "commands")
    }
    assert all(inspect.getdoc(f) for f in hooks)


def test_what_a_plugin_prints_is_no_output(installed, capsys):
    folder = installed("loud", "print('hello')\n" + GOOD)
    (folder / "fine_parts.py").write_text("print('parts')\nclass Fine: pass\n")
    assert registry().get("registrator", "fine-one").load().__name__ == "Fine"
    said = capsys.readouterr()
    assert said.out == ""
    assert said.err.split() == ["hello", "parts"]


def test_a_plugin_that_hangs_is_given_up(installed, monkeypatch):
    """Also one that catches every exception."""
    monkeypatch.setenv("REGBENCH_PLUGINS_TIMEOUT", "0.3")
    installed(
        "hangs", "import time\nwhile True:\n    try:\n        time.sleep(60)\n    except Exception:\n        pass\n"
    )
    installed("fine", GOOD)
    assert rows()["hangs"].reason == "did not load within 0.3 s"
    assert rows()["fine"].status == "ok"


@pytest.mark.parametrize("seconds", ["-1", "x", "nan", "inf"])
def test_a_time_limit_is_a_number_of_seconds(installed, monkeypatch, seconds):
    monkeypatch.setenv("REGBENCH_PLUGINS_TIMEOUT", seconds)
    with pytest.raises(UsageError, match="--plugins-timeout"):
        registry()


def test_ctrl_c_while_a_plugin_loads_is_ctrl_c(installed):
    installed("pressed", "import os, signal, time\nos.kill(os.getpid(), signal.SIGINT)\ntime.sleep(1)\n")
    with pytest.raises(KeyboardInterrupt):
        registry()


def no_metadata(info: Path) -> None:
    (info / "METADATA").unlink()


def no_name(info: Path) -> None:
    (info / "METADATA").write_text("Metadata-Version: 2.1\nVersion: 1.0\n")


def no_equals_sign(info: Path) -> None:
    (info / "entry_points.txt").write_text("[regbench]\nwhatever\n")


def no_text(info: Path) -> None:
    (info / "entry_points.txt").write_bytes(b"[regbench]\nx = \xff\xfe\n")


def folder_for_a_file(info: Path) -> None:
    (info / "METADATA").unlink()
    (info / "METADATA").mkdir()


@pytest.mark.parametrize(
    "damage", [no_metadata, no_name, no_equals_sign, no_text, folder_for_a_file], ids=lambda f: f.__name__
)
def test_a_broken_distribution_is_a_row_and_stops_nothing(installed, damage):
    """As an interrupted installation leaves it."""
    folder = installed("aaa-broken", GOOD.replace("fine-one", "lost"))
    damage(folder / "aaa_broken-1.0.dist-info")
    installed("fine", GOOD)
    row = rows()["aaa_broken" if "aaa_broken" in rows() else "aaa-broken"]
    assert row.status == "failed"
    assert "METADATA" in row.reason or "entry_points.txt" in row.reason
    assert rows()["fine"].status == "ok"
    assert registry().get("registrator", "mcnet").distribution == "regbench-registrators"
    assert all(version for version in provenance.collect()["distributions"].values())


def test_what_an_interrupted_update_left_hides_no_distribution(installed):
    folder = installed("twice", GOOD)
    rest = folder / "twice-0.9.dist-info"
    shutil.copytree(folder / "twice-1.0.dist-info", rest)
    (rest / "METADATA").unlink()
    assert "ok" in [p.status for p in registry().plugins if p.distribution == "twice"]
    assert registry().find("registrator", "fine-one") is not None


def test_nobody_takes_the_name_of_an_official_component(installed):
    """Whatever sorts before it by name."""
    installed("aaa", HOOK + "register('mcnet', 'aaa:Mine')\n")
    assert registry().get("registrator", "aaa:mcnet").distribution == "aaa"
    assert registry().get("registrator", "mcnet").distribution == "regbench-registrators"
    assert rows()["regbench-registrators"].status == "ok"


@pytest.mark.parametrize("name", ["regbench", "Regbench"])
def test_nobody_is_the_harness(installed, name):
    installed(name, HOOK.replace("registrators", "datasets") + "register('synthetic', 'x:X')\n")
    assert registry().get("dataset", "synthetic").target == "regbench.data.synthetic:Synthetic"
    failed = [p for p in registry().plugins if p.status == "failed" and p.distribution == name]
    assert [p.reason for p in failed] == ["calls itself regbench, which is the name of the harness"]


def test_a_component_that_ends_the_program_is_an_error(installed, tmp_path):
    installed("ends", HOOK + "register('ends', 'ends_parts:Ends')\n    register('stops', 'stops_parts:Ends')\n")
    (tmp_path / "ends_parts.py").write_text("import sys\nsys.exit(0)\n")
    (tmp_path / "stops_parts.py").write_text("raise KeyboardInterrupt\n")
    for name, said in (("ends", "SystemExit: 0"), ("stops", "KeyboardInterrupt")):
        with pytest.raises(PluginError, match=rf"registrator '{name}' of ends cannot be imported.*{said}"):
            registry().get("registrator", name).load()


def test_the_harness_alone_does_nothing_and_says_what_to_install(monkeypatch):
    monkeypatch.setattr("regbench.plugins.registry.offers", lambda: [o for o in offers() if o.entry is CORE])
    registry.cache_clear()
    try:
        assert [c.name for c in registry().all("registrator")] == ["identity"]
        assert registry().get("registrator", "identity").load().any_size
        with pytest.raises(UsageError, match=r"part of regbench-registrators, which is not installed: pip install reg"):
            registry().get("registrator", "mcnet")
        with pytest.raises(UsageError, match=r"part of regbench-strategies, .*'regbench\[all\]'"):
            registry().get("strategy", "colreg")
        with pytest.raises(UsageError, match="unknown registrator 'mcnett'"):
            registry().get("registrator", "mcnett")
        monkeypatch.setenv("REGBENCH_LOAD_PLUGINS", "")
        with pytest.raises(UsageError, match=r"part of regbench-registrators, which REGBENCH_LOAD_PLUGINS= leaves out"):
            registry().get("registrator", "mcnet")
    finally:
        registry.cache_clear()


def test_what_official_distributions_offer_is_known():
    offered: dict[str, dict[str, set[str]]] = {}
    for role in ROLES:
        for component in registry().all(role):
            if component.distribution in OFFICIAL:
                offered.setdefault(component.distribution, {}).setdefault(role, set()).add(component.name)
    assert {d: {role: set(names.split()) for role, names in roles.items()} for d, roles in NAMES.items()} == offered
    committed = registry().get("registrator", "identity")
    assert committed.distribution == "regbench-registrators", "run ids hold it"
