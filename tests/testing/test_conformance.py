"""The conformance suite catches what it is there for, and passes the example."""

import os
import re
import subprocess
import sys
from importlib import import_module
from pathlib import Path

import pytest

from regbench.testing import suite
from regbench.testing.advice import ADVICE
from tests.distributions import install, write_plugin

EXAMPLE = Path(__file__).parents[2] / "plugins" / "example"
FAULTY = '''
import torch
from regbench import Registration, Registrator, Translator, hookimpl

@hookimpl
def register_registrators(register):
    for name in ("Inverted", "Coupled", "Scribbler", "Forgetful", "Deaf", "Coarse"):
        register(name.lower(), "faulty:" + name, summary="s", provides=("train",) * (name in ("Deaf", "Coarse")))

@hookimpl
def register_translators(register):
    register("bright", "faulty:Bright", summary="", provides=("differentiable",))

class Base(Registrator):
    def answer(self, source, value):
        size = tuple(source.shape[-2:])
        return Registration((source.new_zeros(1, source.shape[0], 4, 2) + value), size)

class Inverted(Base):
    """Target to source: the classic mistake."""
    any_size = True
    def forward(self, source, target):
        spectra = [torch.fft.rfft2(x.mean(dim=1) - x.mean(dim=(1, 2, 3))[:, None, None]) for x in (source, target)]
        if source.shape != target.shape:
            return self.answer(source, 0.0)
        cross = spectra[0] * spectra[1].conj()
        h, w = source.shape[-2:]
        peak = torch.fft.irfft2(cross / cross.abs().clamp_min(1e-9), s=(h, w)).flatten(1).argmax(dim=1)
        shift, size = torch.stack([peak % w, peak // w], dim=-1), torch.tensor([w, h])
        return self.answer(source, torch.where(shift > size // 2, shift - size, shift).float()[None, :, None])

class Coupled(Base):
    def forward(self, source, target):
        return self.answer(source, source.mean() * 10)  # over the batch

class Scribbler(Base):
    def forward(self, source, target):
        source.mul_(0.5)
        return self.answer(source, 0.0)

class Forgetful(Base):
    calls = 0
    def forward(self, source, target):
        Forgetful.calls += 1
        return self.answer(source, float(Forgetful.calls))

class Deaf(Base):
    def __init__(self, config, info):
        super().__init__(config, info)
        self.weight = torch.nn.Parameter(torch.randn(4, 2))
    def forward(self, source, target):
        return self.answer(source, self.weight.detach() + 0 * self.weight)

class Coarse(Base):
    """Computes its coordinates in whatever precision it is run in."""
    def __init__(self, config, info):
        super().__init__(config, info)
        self.layer = torch.nn.Linear(1, 8)
    def forward(self, source, target):
        moved = self.layer(source.mean(dim=(1, 2, 3))[:, None]).reshape(1, -1, 4, 2)
        return Registration((moved + 63.3).sub(63.3), tuple(source.shape[-2:]))

class Bright(Translator):
    def translate(self, source, target, *, generator=None):
        return (source * 2 + torch.rand(1)).detach()
'''
CAUGHT = {
    "test_matcher_knows_directions[right-up-inverted]",
    "test_registrator_treats_pairs_independently[coupled]",
    "test_registrator_changes_nothing[eval-scribbler]",
    "test_registrator_is_deterministic[forgetful]",
    "test_registrator_has_a_loss_with_gradients[deaf]",
    "test_registrator_learns[deaf]",
    "test_registrator_trains_in_mixed_precision[coarse]",
    "test_component_says_what_it_is[translator:bright]",
    "test_translator_returns_images[bright]",
    "test_translator_draws_from_its_generator_alone[bright]",
    "test_translator_passes_gradients[bright]",
}


def check(folder, *names, load):
    path = os.pathsep.join(filter(None, [str(folder), os.environ.get("PYTHONPATH")]))
    env = os.environ | {"PYTHONPATH": path, "REGBENCH_LOAD_PLUGINS": load, "OMP_NUM_THREADS": "1"}
    return subprocess.run(
        [sys.executable, "-m", "regbench", "plugins", "check", *names],
        cwd=folder, env=env, capture_output=True, text=True, check=False,
    )  # fmt: skip


@pytest.mark.slow
def test_faults_are_caught_and_the_example_passes(tmp_path):
    install(EXAMPLE, write_plugin(tmp_path, "faulty", FAULTY))
    done = check(tmp_path, load="faulty,regbench-example")
    assert done.returncode == 1
    failed = set(re.findall(r"FAILED \S+::(\S+)", done.stdout))
    assert failed >= CAUGHT, CAUGHT - failed
    assert not [test for test in failed if "phase-shift" in test]
    assert done.stderr == "regbench: the conformance suite failed; see above\n"
    told = done.stdout.partition("what to write instead")[2]
    assert "registrator inverted: A known translation is estimated within 1 px" in told
    assert "registrator coarse: Under bf16 autocast estimates stay float32" in told
    assert "write: return displacements in float32" in told
    assert told.count("  write: ") >= len(CAUGHT), "each failure is explained"


def test_every_requirement_has_an_advice():
    found = {}
    for path in Path(suite.__file__).parent.glob("test_*.py"):
        module = import_module(f"regbench.testing.suite.{path.stem}")
        found |= {name: test for name, test in vars(module).items() if name.startswith("test_")}
    assert {name.removeprefix("test_") for name in found} == set(ADVICE)
    assert not [name for name, test in found.items() if not (test.__doc__ or "").strip()], "a requirement is a sentence"
    assert len(set(ADVICE.values())) > len(ADVICE) - 3, "advice is specific"


def test_one_distribution_is_chosen(monkeypatch):
    monkeypatch.setenv("REGBENCH_CHECK", "regbench")
    from regbench.testing.parts import each

    assert {c.distribution for c in each("dataset", "metric").args[1]} == {"regbench"}


@pytest.mark.parametrize(
    ("name", "code", "expected", "status"),
    [("other", "x = 1", "unknown distribution 'faulty'", 2), ("faulty", "import nothing_of_that_name", "not load", 1)],
)
def test_what_does_not_load_is_not_checked(tmp_path, name, code, expected, status):
    write_plugin(tmp_path, name, code)
    done = check(tmp_path, "faulty", load=name)
    assert done.returncode == status
    assert expected in done.stderr
    assert len(done.stderr.splitlines()) == 1
