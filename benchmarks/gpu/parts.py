"""The parts of a short run that measure: ceilings, agreement with the CPU, host waits, times of published stages."""

from __future__ import annotations

import subprocess
import sys
import time
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from benchmarks.gpu.kept import Kept, seconds
from benchmarks.gpu.runs import PUBLISHED, REHEARSAL, SMALL, Entered, Size, enter, finished
from regbench.evaluation.evaluator import Evaluator

COMBINATIONS: list[tuple[str, str, str | None]] = [
    ("supervised", "mcnet", None),
    ("colreg", "mcnet", "mimgcd"),
    ("sshnet", "ihn-lite", "swin-unet"),
    ("supervised", "ihn", None),
    ("supervised", "rhwf", None),
    ("supervised", "mhn", None),
    ("supervised", "dhn", None),
    ("supervised", "cudhn-net", None),
    ("sshnet", "ihn-lite", "unet"),
    ("alto", "mcnet", None),
    ("scpnet", "mcnet", None),
    ("contrast-randomised", "mcnet", None),
    ("bihome", "dhn-resnet34", None),
    ("nemar", "dhn", "unet"),
    ("dfmir", "mhn", "cut"),
    *(("translate", "mcnet", translator) for translator in ("cyclegan", "munit", "ugatit-light", "unsb")),
]
TIMED: list[tuple[str, str, str | None, tuple[str, ...]]] = [
    ("supervised", "mcnet4", None, ("supervised",)),
    ("colreg", "mcnet4", "mimgcd", ("mimgcd", "r-self-0", "r-0", "source-encoder-1")),
    ("sshnet", "ihn-lite", "swin-unet", ("sshnet",)),
    ("alto", "mcnet", None, ("alto",)),
]
"""Strategy, registrator, translator, stages."""
WITHOUT_FILES = {"sshnet": {"strategy": {"pcp_backend": "random"}}, "bihome": {"strategy": {"weights": "random"}}}
"""Settings of strategies that would read published weights, which are too large to bring."""


class Parts:
    """Measurements on one device.

    Args:
        kept: where interim results go.
        device: such as ``cuda``.
        rehearsal: tiny sizes, few combinations.
    """

    def __init__(self, kept: Kept, device: str, rehearsal: bool) -> None:
        self.kept, self.device, self.rehearsal = kept, device, rehearsal
        self.cuda = device.startswith("cuda")
        self.small: Size = REHEARSAL if rehearsal else SMALL
        self.large: Size = REHEARSAL if rehearsal else PUBLISHED

    def tests(self) -> Any:
        """``pytest -m gpu tests/gpu``: the last lines."""
        if not self.cuda:
            return "no GPU: not run"
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-m", "gpu", "tests/gpu"]
        root = Path(__file__).resolve().parents[2]
        ended = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=root)
        return {"exit": ended.returncode, "end": ended.stdout.splitlines()[-12:]}

    def ceilings(self) -> Any:
        """What the device can do: bytes copied and bfloat16 products a second."""
        n = 2**20 if self.rehearsal else 2**30
        x = torch.empty(n, dtype=torch.uint8, device=self.device)
        y = torch.empty_like(x)
        m = torch.randn(_side(n), _side(n), device=self.device).to(torch.bfloat16)
        copy, product = _median(lambda: y.copy_(x), self.device), _median(lambda: m @ m, self.device)
        return {
            "copy TB/s": round(2 * n / copy / 1e12, 4),
            "bf16 TFLOP/s": round(2 * _side(n) ** 3 / product / 1e12, 3),
        }

    def agreement(self) -> Any:
        """Two steps of each combination here and on the CPU from the same seeds; host waits, by line."""
        worst: dict[str, Any] = {}
        waits: dict[str, set[str]] = {}
        failed: dict[str, str] = {}
        for strategy, registrator, translator in COMBINATIONS[: 2 if self.rehearsal else None]:
            name = f"{strategy}/{translator}/{registrator}"
            try:
                logs = []
                for device in ("cpu", self.device):
                    run = self._entered(strategy, registrator, translator, device=device)
                    logs.append(self._two_steps(run, name, waits if device == self.device else None))
                worst[name] = max((abs(a - logs[1][k]) / (abs(a) + 0.05), k) for k, a in logs[0].items())
            except Exception as error:
                failed[name] = f"{type(error).__name__}: {' '.join(str(error).split())[:200]}"
            self.kept.keep("agreement so far", {"worst": worst, "failed": failed})
        differences = {name: {"relative": round(value, 4), "of": key} for name, (value, key) in worst.items()}
        self.kept.found.pop("agreement so far", None)
        return {"difference": differences, "waits": {k: sorted(v) for k, v in waits.items()}, "failed": failed}

    def _two_steps(self, run: Entered, name: str, waits: dict[str, set[str]] | None) -> dict[str, float]:
        logged: dict[str, float] = {}
        for stage in run.plan.stages:
            step = run.steps(stage)
            logs = [step()]
            with warnings.catch_warnings(record=True) as heard:
                warnings.simplefilter("always")
                if waits is not None and self.cuda:
                    torch.cuda.set_sync_debug_mode("warn")
                try:
                    logs.append(step())
                finally:
                    if waits is not None and self.cuda:
                        torch.cuda.set_sync_debug_mode("default")
            for warning in heard:
                if "synchroniz" in str(warning.message) and waits is not None:
                    path = Path(warning.filename)
                    waits.setdefault(f"{path.parent.name}/{path.name}:{warning.lineno}", set()).add(stage.name)
            logged |= {f"{stage.name} {n} {k}": float(v) for n, log in enumerate(logs) for k, v in log.items()}
        return logged

    def ihn_at_its_batch(self) -> Any:
        """IHN's published 16 pairs: 65,536 windows in one call of ``grid_sample``."""
        run = self._entered("supervised", "ihn", None, size=self.large)
        return {k: float(v) for k, v in run.steps(run.plan.stages[0])().items()}

    def evaluation(self) -> Any:
        """Largest difference, px, between estimates of test pairs here and on the CPU."""
        found = {}
        for name in ("mcnet", "rhwf1", "sift")[: 1 if self.rehearsal else None]:
            strategy = None if name == "sift" else "supervised"
            pairs = []
            for device in ("cpu", self.device):
                run = self._entered(strategy, name, None, device=device)
                pairs.append(Evaluator(run.test_pairs()).pairs(run.plan.deployed))
            found[name] = float(abs(pairs[0].estimate - pairs[1].estimate).max())
        return found

    def times(self) -> Any:
        """Milliseconds of a step of published stages, of which the host's; hours of the whole stage; peak memory."""
        rows: dict[str, Any] = {}
        for precision in ("fp32",) if self.rehearsal else ("fp32", "bf16"):
            for strategy, registrator, translator, names in TIMED[: 1 if self.rehearsal else None]:
                if seconds() > 0.5 * self.kept.until and not self.rehearsal:
                    return rows | {"not timed": f"{strategy} {precision} and all after it: half of the time was up"}
                run = self._entered(strategy, registrator, translator, size=self.large, precision=precision)
                for stage in run.plan.stages:
                    if stage.name in names:
                        row = self._timed(run, stage.name, profiled=precision == "bf16")
                        rows[f"{strategy}: {stage.name}, {precision}"] = row
                        self.kept.keep("times", rows)
        return rows

    def _timed(self, run: Entered, name: str, profiled: bool) -> dict[str, Any]:
        stage = run.stage(name)
        step = run.steps(stage)
        for _ in range(1 if self.rehearsal else 4):
            step()
        if self.cuda:
            torch.cuda.reset_peak_memory_stats()
        spans = []
        for _ in range(1 if self.rehearsal else 10):
            finished(self.device)
            began = time.perf_counter()
            step()
            host = time.perf_counter() - began
            finished(self.device)
            spans.append((time.perf_counter() - began, host))
        whole, host = sorted(spans)[len(spans) // 2]
        row = {
            "ms": round(1e3 * whole, 2),
            "host ms": round(1e3 * host, 2),
            "steps": stage.steps,
            "hours": round(whole * stage.steps / 3600, 3),
        }
        if self.cuda:
            row["peak GB"] = round(torch.cuda.max_memory_allocated() / 2**30, 2)
            if profiled:
                row["kernels"] = _kernels(step)
        return row

    def _entered(self, strategy: str | None, registrator: str, translator: str | None, **options: Any) -> Entered:
        size = options.pop("size", self.small)
        device = options.pop("device", self.device)
        sets = WITHOUT_FILES.get(strategy or "")
        return enter(strategy, registrator, translator, size, device, self.kept.out / "unused", sets=sets, **options)


def _kernels(step: Callable[[], Any]) -> Any:
    """Launches of one step, milliseconds the device is busy, the kernels that take most."""
    try:
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            step()
            torch.cuda.synchronize()
        times: dict[str, float] = {}
        events = [e for e in profile.events() if e.device_type == torch.autograd.DeviceType.CUDA]
        for event in events:
            times[event.name[:60]] = times.get(event.name[:60], 0.0) + event.device_time / 1e3
        top = sorted(times.items(), key=lambda entry: -entry[1])[:8]
        return {"launches": len(events), "busy ms": round(sum(times.values()), 2), "top": dict(top)}
    except Exception as error:
        return f"not profiled: {error}"


def _side(n: int) -> int:
    """Side of the square matrices that are multiplied beside ``n`` bytes that are copied."""
    return 8192 if n >= 2**30 else 128


def _median(call: Callable[[], Any], device: str, repeats: int = 10) -> float:
    """Seconds of a call, the median."""
    spans = []
    for _ in range(3 + repeats):
        finished(device)
        began = time.perf_counter()
        call()
        finished(device)
        spans.append(time.perf_counter() - began)
    return sorted(spans[3:])[repeats // 2]
