"""Registrators as ONNX: networks that run without Python, at the patch size they were built for.

Inputs ``source`` and ``target`` ``(N, 3, H, W)`` float32 in [0, 1], where the metadata ``range_source`` and
``range_target`` say which stored values became 0 and 1 (:mod:`regbench.data.value_ranges`); outputs ``displacement``
``(N, 4, 2)`` in pixels at the source corners (TL, TR, BL, BR; x, then y; pixel centres) and ``ok`` ``(N,)`` bool.
Images of another size are resized by the caller, whose homography is then rescaled
(:func:`regbench.geometry.rescale`).
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
from regbench.runs.build import registrator_alone
from regbench.runs.finished import open_run
from regbench.runs.request import configure
from regbench.settings import budget_of
from regbench.weights.files import read_metadata

OPSET = 17
TOLERANCE = 0.01
"""Largest difference in px, on random images, at which the ONNX form still counts as the same network."""
_EXAMPLES = 2  # the exporter would take a batch of one for a constant


@dataclass(frozen=True)
class Exported:
    """What was written.

    Attributes:
        parameters: of the network.
        dynamic: whether the file takes any batch size.
        batch: the only one it takes where ``dynamic`` is False.
        difference: largest difference in px between the module and the file on random images.
    """

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
    """As :func:`export_onnx`, for a network in memory; ``about`` becomes the file's metadata."""
    parameters = sum(p.numel() for p in network.parameters())
    if not parameters:
        raise UsageError(f"{name}: is no network, so there is nothing to export; its algorithm runs in Python alone")
    module = _OfTensors(network.cpu()).eval()  # as a whole: the exporter restores the mode of the outermost module
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


class _OfTensors(nn.Module):
    """A registrator that returns displacement and ``ok`` as a tuple of tensors, which ONNX can express."""

    def __init__(self, network: Registrator) -> None:
        super().__init__()
        self.network = network

    def forward(self, source: Tensor, target: Tensor) -> tuple[Tensor, Tensor]:
        registration = self.network.register(source, target)
        assert registration.ok is not None
        return registration.displacement, registration.ok


def largest_difference(module: nn.Module, file: Path, patch: int, batches: tuple[int, ...]) -> float:
    """Largest difference in px between the displacements of a module and of its ONNX file, on uniform noise.

    Args:
        module: of source and target to displacement and ``ok``.
        file: its ONNX form.
        patch: side of the images, px.
        batches: batch sizes to try.

    Returns:
        The difference; infinite where the two disagree on ``ok`` or a displacement is not finite.
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
    """Write the file with a free batch size or, where that fails, with a fixed one; returns whether it is free."""
    generator = torch.Generator().manual_seed(0)
    images = tuple(torch.rand(_EXAMPLES, 3, patch, patch, generator=generator) for _ in range(2))
    names = (["source", "target"], ["displacement", "ok"])
    for dynamic in (True, False):
        try:
            with _silence(), torch.no_grad():
                # The exporter that traces; the one that uses torch.export takes many times as long.
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
    """Write facts into the metadata of an ONNX file."""
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
    registrator = configure("registrator", name, settings.get("registrator"))
    protocol = build_protocol(settings.get("protocol"), budget_of("full"))
    network = registrator_alone(
        registrator,
        PairInfo(protocol.patch, protocol.rho),
        weights=weights,
        untrained="name a finished run in its place, or give --weights FILE",
    )
    about = {"component": name, "config": json.dumps(registrator.config.model_dump(mode="json"))}
    if weights is not None:
        metadata = read_metadata(weights)
        about["supervision"] = str(metadata.get("supervision", "unknown"))
        about |= {side: str(metadata[side]) for side in ("range_source", "range_target") if side in metadata}
    return network, about


def _packages() -> None:
    """Raise RegbenchError, which says what to install, where a package is missing."""
    for package in ("onnx", "onnxruntime"):
        try:
            importlib.import_module(package)
        except ImportError as error:
            raise RegbenchError(
                f"{package} cannot be imported ({error}); ONNX needs the extra: pip install 'regbench[onnx]'"
            ) from error


@contextmanager
def _silence() -> Iterator[None]:
    """Hide the exporter's own warnings and progress: a person who exports can act on none of them."""
    before = logging.root.manager.disable
    logging.disable(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(StringIO()), redirect_stderr(StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(before)
