"""``pairs.h5``: truth, estimate and error of every test pair, from which every metric can be recomputed."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from regbench.contained import check_hdf5
from regbench.errors import DataError
from regbench.metrics.types import PairErrors
from regbench.results.store import write_bytes

FORMAT, VERSION = "regbench-pairs", 1
_CORNERS = {"displacement": "f4", "estimate": "f4"}
_OPTIONAL = {"confidence": "f4"}
"""Fields that a file may lack; readers that do not know them pass them over, so the version stays."""
_SCALARS = {"error": "f8", "identity_error": "f8", "ok": "?", "image": "i4"}


@dataclass(frozen=True, eq=False)
class Pairs:
    """The N test pairs of a run, in the order of the manifest.

    Attributes:
        displacement: ``(N, 4, 2)`` float32 px, true displacement of the source's corners TL, TR, BL, BR; NaN where only
            tie points or no labels are known.
        estimate: ``(N, 4, 2)`` float32 px, estimated displacement; arbitrary where the pair failed.
        error: ``(N,)`` float64 px, average corner error of the estimate; with tie points their mean distance, without
            labels NaN.
        identity_error: ``(N,)`` float64 px, likewise for the zero displacement.
        ok: ``(N,)`` bool, False where the method found no answer.
        image: ``(N,)`` int32 number of the test image.
        confidence: ``(N,)`` float32 in [0, 1], how sure one can be of the estimate (``docs/confidence.md``), 0 where
            the method found no answer; None where it was not asked for.
    """

    displacement: NDArray[np.float32]
    estimate: NDArray[np.float32]
    error: NDArray[np.float64]
    identity_error: NDArray[np.float64]
    ok: NDArray[np.bool_]
    image: NDArray[np.int32]
    confidence: NDArray[np.float32] | None = None

    @classmethod
    def of(
        cls,
        displacement: ArrayLike,
        estimate: ArrayLike,
        ok: ArrayLike,
        image: ArrayLike,
        errors: tuple[ArrayLike, ArrayLike] | None = None,
    ) -> Pairs:
        """Score estimates. Errors are computed in float64 from the float32 values that are stored.

        Args:
            displacement: ``(N, 4, 2)`` px, true displacement of the corners; NaN where it is not known.
            estimate: ``(N, 4, 2)`` px, estimated displacement of the corners.
            ok: ``(N,)`` bool, False where the method found no answer.
            image: ``(N,)`` int, number of the test image.
            errors: ``(N,)`` px of the estimate and ``(N,)`` px of the zero displacement; default: the corner errors.
        """
        truth = np.asarray(displacement, dtype=np.float32)
        estimated = np.asarray(estimate, dtype=np.float32)
        error, identity_error = errors or (corner_error(truth, estimated), corner_error(truth, np.zeros_like(truth)))
        return cls(
            displacement=truth,
            estimate=estimated,
            error=np.asarray(error, dtype=np.float64),
            identity_error=np.asarray(identity_error, dtype=np.float64),
            ok=np.asarray(ok, dtype=np.bool_),
            image=np.asarray(image, dtype=np.int32),
        )

    @property
    def sha256(self) -> str:
        """Hash of the content but the confidences, which are asked for separately and change no result."""
        return _sha256(_checked({name: getattr(self, name) for name in (*_CORNERS, *_SCALARS)}), {})

    @property
    def errors(self) -> PairErrors:
        """The errors, in the form that metrics take."""
        return PairErrors(
            error=self.error,
            identity=self.identity_error,
            ok=self.ok,
            image=self.image.astype(np.int64),
            confidence=None if self.confidence is None else self.confidence.astype(np.float64),
        )


def corner_error(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    """``(N,)`` px: distance of two ``(N, 4, 2)`` corner displacements, averaged over the corners."""
    with np.errstate(invalid="ignore", over="ignore"):
        return np.linalg.norm(a.astype(np.float64) - b.astype(np.float64), axis=-1).mean(axis=-1)


def write_pairs(path: Path, pairs: Pairs, facts: Mapping[str, str] | None = None) -> None:
    """Write ``pairs.h5`` atomically. Equal pairs and facts give equal bytes; 400 pairs take less than 100 kB.

    Args:
        path: the file.
        pairs: its content.
        facts: whose pairs they are, such as ``run_id``; see :func:`read_pairs`. The file holds the SHA-256 of both.

    Raises:
        ValueError: the shapes do not match.
    """
    import h5py

    known = dict(facts or {})
    given = [name for name in _OPTIONAL if getattr(pairs, name) is not None]
    fields = _checked({name: getattr(pairs, name) for name in (*_CORNERS, *_SCALARS, *given)})
    buffer = io.BytesIO()
    with h5py.File(buffer, "w") as file:
        file.attrs["format"], file.attrs["version"] = FORMAT, VERSION
        file.attrs["facts"], file.attrs["sha256"] = json.dumps(known, sort_keys=True), _sha256(fields, known)
        for name, values in fields.items():
            file.create_dataset(name, data=values, track_times=False)
    write_bytes(path, buffer.getvalue())


def read_pairs(path: Path, facts: Mapping[str, str] | None = None, *, bound: bool = False) -> Pairs:
    """Read ``pairs.h5``.

    Args:
        path: the file.
        facts: what the file must say of its pairs, such as ``run_id``. An earlier regbench wrote no facts.
        bound: refuse a file that does not say it.

    Raises:
        DataError: the file is missing, truncated, edited, of another format or of a newer version, or of another run.
    """
    import h5py

    if not path.is_file():
        raise DataError(f"{path} does not exist; it must lie beside its result")
    try:
        with h5py.File(path, "r") as file:
            if not _is(file.attrs.get("format"), FORMAT):
                raise DataError(f"{path} is not a {FORMAT} file")
            if (version := int(file.attrs["version"])) > VERSION:
                raise DataError(f"{path} has version {version}, this regbench reads {VERSION}; upgrade it")
            check_hdf5(path, file)
            given = [name for name in _OPTIONAL if name in file]
            fields = _checked({name: file[name][()] for name in (*_CORNERS, *_SCALARS, *given)})
            said, sha256 = json.loads(file.attrs.get("facts", "{}")), file.attrs.get("sha256")
            if not isinstance(said, dict):
                raise ValueError("its facts are none")
    except (OSError, LookupError, ValueError, ArithmeticError, TypeError, AttributeError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise DataError(f"{path} is truncated or broken ({reason}); evaluate the run again") from error
    if sha256 is not None and sha256 != _sha256(fields, said):
        raise DataError(f"{path} is damaged or was edited: it does not have its SHA-256; evaluate the run again")
    for name, wanted in (facts or {}).items():
        if (found := said.get(name)) != wanted and (bound or found is not None):
            raise DataError(
                f"{path} holds pairs of {name.replace('_', ' ')} {found or 'unknown'}, not of {wanted}; "
                "evaluate the run again"
            )
    return Pairs(**fields)


def _sha256(fields: Mapping[str, NDArray[Any]], facts: Mapping[str, str]) -> str:
    digest = hashlib.sha256(json.dumps(dict(facts), sort_keys=True).encode())
    for name, values in fields.items():
        digest.update(f"\n{name} {values.dtype} {values.shape}\n".encode())
        digest.update(values.tobytes())
    return digest.hexdigest()


def _is(value: object, text: str) -> bool:
    return isinstance(value, str) and value == text


def _checked(fields: dict[str, Any]) -> dict[str, NDArray[Any]]:
    n = len(fields["ok"])
    checked = {}
    for name, dtype in {**_CORNERS, **_SCALARS, **_OPTIONAL}.items():
        if name not in fields:
            continue
        if (kind := np.asarray(fields[name]).dtype).kind not in "biuf":
            raise ValueError(f"{name} holds {kind}, no real numbers")
        checked[name] = np.ascontiguousarray(fields[name], dtype=dtype)
        shape = (n, 4, 2) if name in _CORNERS else (n,)
        if checked[name].shape != shape:
            raise ValueError(f"{name} has shape {checked[name].shape}, expected {shape}")
        if name in _OPTIONAL and not ((checked[name] >= 0) & (checked[name] <= 1)).all():
            raise ValueError(f"{name} lies outside of 0 to 1")
    return checked
