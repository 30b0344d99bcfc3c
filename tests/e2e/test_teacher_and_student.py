"""SSHNet through the command line: trained, distilled, judged elsewhere."""

from __future__ import annotations

import pytest

from tests.e2e.command_line import SMOKE, TINY


@pytest.mark.slow
@pytest.mark.parametrize(("translator", "registrator"), [("unet", "mcnet"), ("swin-unet", "ihn1")])
def test_sshnet_teaches_sshnet_d(regbench, translator, registrator):
    names = ["--registrator", registrator, "--strategy"]
    done = regbench("run", *names, "sshnet", "--translator", translator, *SMOKE, "--out", "a", "--json", "-q")
    assert done.code == 0, done.err
    taught = done.json
    assert taught["identity"]["supervision"] == "none"
    assert taught["provenance"]["strategy"]["perceptual"]["backend"] == "random"
    assert [d["stage"] for d in taught["training"]["deploys"]] == ["sshnet"]
    teacher = next((regbench.folder / "a").iterdir())
    assert (teacher / "gallery.png").is_file()
    done = regbench("run", *names, "sshnet-d", "--teacher", str(teacher), *SMOKE, "--out", "b", "--json", "-q")
    assert done.code == 0, done.err
    student = done.json
    assert student["identity"]["ancestors"] == [taught["run_id"]]
    assert student["training"]["parameters"] < taught["training"]["parameters"]  # no translator
    assert str(regbench.folder) not in str(student)
    run = next((regbench.folder / "b").iterdir())
    for finished in (teacher, run):
        moved = regbench("evaluate", "--run", str(finished), *TINY, "--set", "dataset.b=nir", "--json", "-q")
        assert moved.code == 0, moved.err
        assert moved.json["identity"]["supervision"] == "none"
