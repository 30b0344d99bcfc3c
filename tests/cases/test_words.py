"""Cases of words: names, paths, devices, what plugins print, published weights."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest

from regbench.plugins.registry import registry
from tests.cases.conftest import one_line
from tests.e2e.command_line import TINY
from tests.report.made_up import component, identity_of, pairs_of, save_run

JUDGED = ("evaluate", "--registrator", "identity", "--budget", "smoke", *TINY, "-q")


@pytest.fixture
def plugin(monkeypatch, tmp_path):
    """Make the distributions in the folder of the test visible, to this process and for this test alone."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delenv("REGBENCH_LOAD_PLUGINS", raising=False)
    registry.cache_clear()
    yield
    registry.cache_clear()
    for name in set(sys.modules) - before:
        if str(tmp_path) in (getattr(sys.modules[name], "__file__", None) or ""):
            del sys.modules[name]


@pytest.mark.parametrize("name", ["org/model", "../x", ".hidden", "", "..", "/tmp/x", "a\\b"])
def test_board_name(case, inline, tmp_path, name):
    case("board-name")
    run = tmp_path / "runs" / save_run(tmp_path / "runs", identity_of("identity"), pairs_of(-1, 0)).run_id
    done = inline("leaderboard", "add", str(run), "--board", name, "--root", "lb")
    assert done.code == 2, done.out
    assert "one plain folder name" in one_line(done.err)
    assert not list(tmp_path.glob("**/lb"))


@pytest.mark.parametrize("device", ["mps", "xpu", "meta", "vulkan", "hpu", "nonsense"])
def test_device_mps(case, inline, device):
    case("device-mps")
    done = inline("evaluate", "--registrator", "sift", "--device", device, "--budget", "smoke")
    assert done.code == 2
    assert "use --device cpu" in one_line(done.err)
    assert len(done.err) < 200


@pytest.mark.parametrize("name", ["$x^2$", r"$\frac$"])
def test_figure_dollar(case, inline, tmp_path, name):
    case("figure-dollar")
    run = tmp_path / save_run(tmp_path, identity_of(name, strategy=component("supervised")), pairs_of(0.2, 0)).run_id
    for kind in ("curves", "auc", "transfer"):
        done = inline("figure", kind, str(run), "--out", f"{kind}.png")
        assert done.code == 0, done.err
        assert (tmp_path / f"{kind}.png").stat().st_size > 0


def test_plugin_markup(case, inline, plugin):
    case("plugin-markup")
    done = inline("datasets", "list")
    assert done.code == 0, done.err
    words = "".join(done.out.split())  # the table may break the reason
    for part in ("[/opt/lib/libcuda.so]", "rasterio[s3]"):
        assert part in words
    assert {"synthetic", "vedai", "mydata"} <= {line.split()[0] for line in done.out.splitlines() if line.strip()}


def test_plugin_prints(case, inline, plugin, tmp_path):
    import cv2

    case("plugin-prints")
    for name in ("a.png", "b.png"):
        cv2.imwrite(str(tmp_path / name), np.zeros((64, 64, 3), np.uint8))
    for words in (
        ("plugins", "list"),
        ("datasets", "list"),
        ("register", "a.png", "b.png", "--registrator", "greeter"),
        ("evaluate", "--registrator", "greeter", "--budget", "smoke", *TINY),
    ):
        registry.cache_clear()
        sys.modules.pop("p_prints", None)
        done = inline(*words, "--json")
        assert done.code == 0, done.err
        assert json.loads(done.out)
        assert "Hello from a library" in done.err


def test_readme_commands_twice(case, inline, tmp_path):
    case("readme-commands-twice")
    assert inline(*JUDGED).code == 0
    (tmp_path / "runs" / "notes.txt").write_text("not a run")
    for time in range(2):
        runs = [str(path) for path in sorted(Path("runs").iterdir())]
        done = inline("leaderboard", "add", *runs, "--board", "mine")
        assert done.code == 0, done.err
        assert "skipped runs/notes.txt" in done.err
        assert ("skipped runs/boards" in done.err) == bool(time)
        assert inline("leaderboard", "build").code == 0
        assert inline("leaderboard", "html").code == 0
        figure = inline("figure", "curves", *runs, "--out", "curves.pdf")
        assert figure.code == 0, figure.err
    assert len(list((tmp_path / "leaderboards" / "results" / "mine").glob("*.json"))) == 1


def test_tilde_out(case, inline, tmp_path, monkeypatch):
    case("tilde-out")
    home = tmp_path / "home"
    home.mkdir()
    monkeypatch.setenv("HOME", str(home))
    assert inline(*JUDGED, "--out=~/runs").code == 0
    assert len(list((home / "runs").glob("*/result.json"))) == 1
    monkeypatch.setenv("REGBENCH_DATA", "~/packs")
    done = inline("datasets", "prepare", "synthetic", "--set", "train=6", "--set", "test=6", "--set", "size=112")
    assert done.code == 0, done.err
    assert len(list((home / "packs").glob("*.h5"))) == 1
    assert not (tmp_path / "~").exists()


@pytest.fixture(scope="module")
def checkpoints(tmp_path_factory):
    """The files that the case's ``make.py`` writes, whose two imports were moved since."""
    import contextlib

    folder = Path(__file__).resolve().parents[2].parent / "shared" / "cases" / "weights-wrappings"
    if not folder.is_dir():
        pytest.skip(f"no cases at {folder}")
    code = (folder / "make.py").read_text().replace("regbench.engine.context", "regbench.runs.context")
    code = code.replace("regbench.engine.plan import choose", "regbench.runs.request import configure as choose")
    made = tmp_path_factory.mktemp("weights")
    with contextlib.chdir(made):
        exec(compile(code, "make.py", "exec"), {})
    return made


@pytest.mark.parametrize(
    ("name", "code", "said"),
    [
        ("tensor_epoch", 0, "846,470 parameters"),
        ("settings_300", 0, "846,470 parameters"),
        ("history_300", 0, "846,470 parameters"),
        ("numpy_scalar", 0, "846,470 parameters"),
        ("ema_first", 2, "ema, model; name one with --part"),
        ("nan", 1, "hold NaN"),
        ("lfs", 1, "is a Git LFS pointer"),
        ("html", 1, "is an HTML page"),
    ],
)
def test_weights_wrappings(checkpoints, inline, name, code, said):
    done = inline("weights", "import", "mcnet", str(checkpoints / f"{name}.pth"), "--out", f"{name}.safetensors")
    assert done.code == code, done.err
    assert said in done.out + done.err
    assert "weights_only" not in done.err
