"""Registrators as ONNX: a network that runs without Python, at the patch size it was built for.

Inputs ``source`` and ``target`` ``(N, 3, H, W)`` float32 in [0, 1], where the metadata ``range_source`` and
``range_target`` say which stored values became 0 and 1 (:mod:`regbench.data.value_ranges`); outputs ``displacement``
``(N, 4, 2)`` in pixels at the source corners (TL, TR, BL, BR; x, then y; pixel centres) and ``ok`` ``(N,)`` bool.
Images of another size are resized by the caller, whose homography is then rescaled (:func:`regbench.geometry.rescale`).
"""

from __future__ import annotations

import importlib
import json
import logging
import os
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import dataclass
from io import StringIO
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from regbench.api.registrator import Registrator
from regbench.api.types import PairInfo
from regbench.data.protocol import build_protocol
from regbench.errors import DataError, RegbenchError, UsageError, unknown_name
from regbench.runs.context import RunContext, load_weights
from regbench.runs.finished import open_run
from regbench.runs.plan import choose
from regbench.settings import budget_of

OPSET = 17
TOLERANCE = 0.01
"""Largest difference in px between the module and its ONNX form on random images that is still the same network."""
_EXAMPLES = 2  # a batch of one would be taken for a constant


@dataclass(frozen=True)
class Exported:
    """What was written: whether N is free (else it is ``batch``), and the largest difference in px that was seen."""

    parameters: int
    dynamic: bool
    batch: int
    difference: float


def export_onnx(
    what: str, out: Path, *, weights: Path | None = None, settings: Mapping[str, Mapping[str, Any]] | None = None
) -> Exported:
    """Write a registrator as one ONNX file, and compare the file with the module on random images.

    Args:
        what: directory of a finished run, or the registered name of a registrator.
        out: file to write; nothing is left there when the export fails.
        weights: for a name: weights file of ``regbench weights import`` or of a run.
        settings: for a name: ``registrator`` settings and ``protocol`` settings (``patch``).

    Raises:
        UsageError: no such registrator, it is no network, or it lacks weights.
        DataError: the run or the weights cannot be read, or the file cannot be written.
        RegbenchError: packages are missing, the exporter cannot express the network, or the file is not the network.
    """
    _packages()
    if os.sep in what or Path(what).is_dir():
        network, about = _of_run(Path(what), weights, settings or {})
    else:
        network, about = _of_name(what, weights, settings or {})
    return export_network(network, what, out, about)


def export_network(network: Registrator, name: str, out: Path, about: Mapping[str, str] | None = None) -> Exported:
    """As :func:`export_onnx`, of a module in memory; ``about`` becomes the file's metadata."""
    parameters = sum(p.numel() for p in network.parameters())
    if not parameters:
        raise UsageError(f"{name}: is no network, so there is nothing to export; its algorithm runs in Python alone")
    module = _Plain(network.cpu()).eval()  # all of it: the exporter restores the mode of the outermost module
    facts = {"patch": network.info.patch, "corners": "TL TR BL BR, x then y, pixels of the source", **(about or {})}
    written = out.with_name(out.name + ".part")
    try:
        dynamic = _export(module, network.info.patch, name, written)
        _describe(written, facts)
        difference = largest_difference(module, written, network.info.patch, (1, 3) if dynamic else (_EXAMPLES,))
        if not difference <= TOLERANCE:
            raise RegbenchError(
                f"{name}: its ONNX form differs from it by {difference:.3g} px on random images, more than {TOLERANCE}"
            )
        os.replace(written, out)
    except OSError as error:
        raise DataError(f"{out}: cannot be written: {error.strerror}") from error
    finally:
        written.unlink(missing_ok=True)
    return Exported(parameters, dynamic, _EXAMPLES, difference)


class _Plain(nn.Module):
    """Tensors in, tensors out."""

    def __init__(self, network: Registrator) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        found = self.network.register(source, target)
        assert found.ok is not None
        return found.displacement, found.ok


def largest_difference(module: nn.Module, file: Path, patch: int, batches: tuple[int, ...]) -> float:
    """Largest difference in px between displacements of a module and of its ONNX file, on uniform noise.

    Infinite where they disagree on ``ok`` or one of them is not finite.
    """
    import onnxruntime

    session = onnxruntime.InferenceSession(file, providers=["CPUExecutionProvider"])
    generator = torch.Generator().manual_seed(0)
    worst = 0.0
    for batch in batches:
        source, target = (torch.rand(batch, 3, patch, patch, generator=generator) for _ in range(2))
        displacement, ok = session.run(None, {"source": source.numpy(), "target": target.numpy()})
        with torch.no_grad():
            expected, expected_ok = module(source, target)
        difference = (torch.from_numpy(displacement) - expected).abs().max()
        same = bool((torch.from_numpy(ok) == expected_ok).all()) and bool(difference.isfinite())
        worst = max(worst, float(difference) if same else float("inf"))
    return worst


def _export(module: nn.Module, patch: int, name: str, written: Path) -> bool:
    """Write the file, and say whether its batch is free; a fixed batch is tried where a free one fails."""
    generator = torch.Generator().manual_seed(0)
    images = tuple(torch.rand(_EXAMPLES, 3, patch, patch, generator=generator) for _ in range(2))
    names = (["source", "target"], ["displacement", "ok"])
    for dynamic in (True, False):
        try:
            with _silence(), torch.no_grad():
                # The exporter by tracing: that by torch.export takes many times as long.
                torch.onnx.export(
                    module,
                    images,
                    written,
                    dynamo=False,
                    opset_version=OPSET,
                    input_names=names[0],
                    output_names=names[1],
                    dynamic_axes={key: {0: "N"} for key in (*names[0], *names[1])} if dynamic else None,
                )
        except OSError:
            raise
        except Exception as error:  # the exporter has no common class for what it cannot do
            reason = error
        else:
            return dynamic
    line = next((line.strip() for line in str(reason).splitlines() if line.strip()), type(reason).__name__)
    raise RegbenchError(f"{name}: torch's ONNX exporter cannot express it: {line[:300]}") from reason


def _describe(file: Path, facts: Mapping[str, Any]) -> None:
    """Write facts into an ONNX file, as its metadata."""
    import onnx

    model = onnx.load(file)
    onnx.helper.set_model_props(model, {key: str(value) for key, value in facts.items()})
    onnx.checker.check_model(model)
    onnx.save(model, file)


def _of_run(folder: Path, weights: Path | None, settings: Mapping[str, Any]) -> tuple[Registrator, dict[str, str]]:
    if weights is not None or settings:
        raise UsageError(f"{folder}: a run has its own weights and settings; --weights and --set go with a name")
    run = open_run(folder)
    name = run.result.identity.registrator.name
    about = {"component": name, "run_id": run.run_id, "supervision": run.supervision}
    sides = zip(("range_source", "range_target"), run.ranges, strict=True)
    return run.registrator, about | {side: text for side, text in sides if text is not None}


def _of_name(
    name: str, weights: Path | None, settings: Mapping[str, Mapping[str, Any]]
) -> tuple[Registrator, dict[str, str]]:
    for section in settings:
        if section not in ("registrator", "protocol"):
            raise unknown_name("section of --set", section, ("registrator", "protocol"))
    chosen = choose("registrator", name, settings.get("registrator", {}), None)
    assert chosen is not None
    if "train" in chosen.component.provides and weights is None:
        raise UsageError(f"{name} has to be trained: name a finished run in its place, or give --weights FILE")
    protocol = build_protocol(settings.get("protocol", {}), budget_of("full"))
    info = PairInfo(protocol.patch, protocol.rho)
    network = RunContext(info, torch.device("cpu"), {"registrator": chosen}, seed=0).registrator()
    about = {"component": name, "config": json.dumps(chosen.config.model_dump(mode="json"))}
    if weights is not None:
        said = load_weights(network, weights)
        about["supervision"] = str(said.get("supervision", "unknown"))
        about |= {side: str(said[side]) for side in ("range_source", "range_target") if side in said}
    return network, about


def _packages() -> None:
    """Raises RegbenchError that says what to install."""
    for package in ("onnx", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise RegbenchError(
                f"{package} cannot be imported ({error}); ONNX needs the extra: pip install 'regbench[onnx]'"
            ) from error


@contextmanager
def _silence() -> Iterator[None]:
    """The exporter's own warnings and progress say nothing a person exporting can act on."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
