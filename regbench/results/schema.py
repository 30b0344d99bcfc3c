"""``result.json``, the record of one run: its identity, its metrics and its provenance."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any, ClassVar, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

SCHEMA_VERSION = 1
Sha256 = Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
RunId = Annotated[str, Field(pattern=r"^[0-9a-f]{12}$")]
Pairing = Literal["frozen", "online", "given"]
FrozenAugment = Literal["none", "sync_flip_rot", "indep_homography"]
ROLES = ("translator", "registrator", "strategy")
"""The components of an identity, by the names of its fields."""


class _Record(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class LeavesOut(BaseModel):
    """Does not write fields that did not always exist, at their defaults: runs made before them keep their id."""

    left_out: ClassVar[Mapping[str, Any]] = {}
    """Fields that are not written at their default, which is what runs did before the field existed: name to that
    default."""

    @model_serializer(mode="wrap")
    def _without_defaults(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        content: dict[str, Any] = serialise(self)
        return {k: v for k, v in content.items() if k not in self.left_out or v != self.left_out[k]}


class Component(_Record, LeavesOut):
    """A translator, registrator or strategy as it was used."""

    left_out = {"files": {}}

    name: str
    version: str
    """Version of its distribution."""
    distribution: str
    config: dict[str, Any] = {}
    """Every setting, defaults included."""
    weights_sha256: Sha256 | None = None
    """Hash of the weights file it was given; None for weights that this run trained."""
    files: dict[str, Sha256] = {}
    """Hashes of the files it reads, by name: published weights that a setting names or a cache holds."""


class TrainData(_Record):
    """The training data, identified by the hash of the pack."""

    name: str
    pack_sha256: Sha256


class TestData(_Record):
    """The test pairs, identified by the hash of the frozen manifest."""

    __test__ = False  # not a test class, whatever pytest thinks of its name

    name: str
    manifest_sha256: Sha256


class PairProtocol(_Record):
    """How unaligned pairs are made from a pack: what the settings of a run and its record have in common."""

    patch: Annotated[int, Field(gt=0)]
    """Side of the square patches, px."""
    rho: Annotated[int, Field(ge=0)]
    """Each corner coordinate is moved by a whole number drawn from U{-rho..rho}, px (DeTone et al. 2016)."""
    pairing: Pairing
    """Training pairs keep one offset (``frozen``), get a new one at each visit (``online``), or are the set's own
    really unaligned pairs (``given``)."""
    source: Literal["A", "B"] = "A"
    """Which modality of the pack is the source, and is warped."""
    oversample: Annotated[int, Field(gt=0)] = 10
    """Frozen pairs made of each training image."""
    frozen_augment: FrozenAugment = "none"
    """Other views of frozen and given training pairs: mirrored and turned alike, or each image by a homography of its
    own; see :mod:`regbench.data.augment`."""


class Protocol(PairProtocol, LeavesOut):
    """How unaligned pairs are made."""

    left_out = {"frozen_augment": "none"}

    @property
    def pairs_in_words(self) -> str:
        """How training pairs are made, such as ``frozen, sync_flip_rot``."""
        return self.pairing if self.frozen_augment == "none" else f"{self.pairing}, {self.frozen_augment}"


class Identity(_Record, LeavesOut):
    """Everything that decides a result: runs with equal identities have equal results, up to the rounding of another
    machine or number of threads. ``docs/provenance.md`` lists what that covers."""

    left_out = {"precision": "fp32"}

    translator: Component | None
    registrator: Component
    strategy: Component | None
    """None when nothing was trained."""
    train_dataset: TrainData | None
    test_dataset: TestData
    protocol: Protocol
    seed: int
    budget: str
    ancestors: list[str] = []
    """Run ids of the runs, and hashes of the weights files, from which this run started."""
    metric_version: int
    """Version of the metrics by which the estimates were summarised. It decides no estimate, so no run id."""
    supervision: Literal["none", "homography"]
    """``homography`` if the run or any of its ancestors was trained with labels."""
    precision: Literal["fp32", "bf16"] = "fp32"
    """Of the training steps."""

    @property
    def component_names(self) -> list[str]:
        """Names of the translator, the registrator and the strategy, those that take part."""
        return [part.name for part in self.components.values()]

    @property
    def components(self) -> dict[str, Component]:
        """The translator, the registrator and the strategy by role, those that take part."""
        return {role: part for role in ROLES if (part := getattr(self, role)) is not None}


class Measure(_Record):
    """A metric over the test pairs."""

    value: float | None
    """None where the metric is not finite."""
    ci95: tuple[float, float] | None = None
    """95 % interval over test images; None for a single image or a metric that is not finite."""
    n: int | None = None
    """Number of test pairs."""


_NUMBER = (int, float)
_LARGEST = 2.0**63
_TYPES: Mapping[str, tuple[Any, ...]] = {
    **dict.fromkeys(("timing.register_ms", "training.seconds", "training.parameters"), _NUMBER),
    **dict.fromkeys(("training.peak_memory_mb", "training.peak_gpu_memory_mb"), _NUMBER),
    **dict.fromkeys(("training.pairs", "training.ranges", "training.translation"), (dict,)),
    **dict.fromkeys(("provenance.git", "provenance.cpu", "provenance.distributions"), (dict,)),
    **dict.fromkeys(("training.deploys", "training.health", "training.stages", "provenance.gpu"), (list,)),
    "timing.device": (str,),
}
"""What the known entries of the open blocks of a result are, where they are there."""
_IN_WORDS: Mapping[tuple[Any, ...], str] = {
    _NUMBER: "a finite number",
    (dict,): "an object",
    (list,): "a list of objects",
    (str,): "a text",
}


class Result(_Record):
    """One run. A run that is ``ok`` has metrics and a verdict; any other has a ``reason``."""

    schema_version: Literal[1] = 1
    run_id: RunId
    status: Literal["ok", "failed", "interrupted"]
    reason: str | None = None
    verdict: Literal["aligned", "collapsed", "diverged", "unjudged"] | None = None
    """``unjudged`` for a run without labels."""
    truth: Literal["labels", "tie points", "none"] = "labels"
    """What estimates were compared with: exact corners, tie points (errors are distances at these), or nothing (metrics
    are label-free)."""
    identity: Identity
    lineage: dict[RunId, dict[str, Any]] = {}
    """Identities of all ancestors that are runs, by run id."""
    metrics: dict[str, Measure] = {}
    timing: dict[str, Any] = {}
    """``register_ms``: median time of a pair in milliseconds; more keys are allowed."""
    weights_sha256: Sha256 | None = None
    """Hash of the run's ``weights.safetensors``; None for a run without weights."""
    pairs_sha256: Sha256 | None = None
    """Hash of the content of the run's ``pairs.h5``; None in records of an earlier regbench."""
    training: dict[str, Any] = {}
    """``parameters``: number of those of the deployed network; ``seconds`` of training; ``pairs_seen`` by registrators
    that learned, ``images_seen`` by translators that did; ``ranges``: which stored values
    of source and target were black and white (:func:`regbench.data.value_ranges.recorded`); ``of_no_paper``: whether no
    paper reports this combination of components; ``weights``: run id and supervision of the weights it started from, if
    any were given; more keys are allowed."""
    provenance: dict[str, Any] = {}
    """See :func:`regbench.results.provenance.collect`; ``strategy``: what the strategy adds, if anything;
    ``third_party``: hashes of the files of components that are not this project's, by distribution."""

    @model_validator(mode="after")
    def _blocks(self) -> Result:
        """What the open blocks hold has the types that readers expect."""
        for name, kinds in _TYPES.items():
            block, _, key = name.partition(".")
            value = getattr(self, block).get(key)
            if value is None:
                continue
            inner = value if isinstance(value, list) else ()
            right = isinstance(value, kinds) and not isinstance(value, bool) and all(isinstance(x, dict) for x in inner)
            if not right or (isinstance(value, int | float) and not -_LARGEST < value < _LARGEST):
                raise ValueError(f"{name} is {type(value).__name__}, not {_IN_WORDS[kinds]}")
        return self

    @model_validator(mode="after")
    def _complete(self) -> Result:
        needed = "edge_agreement" if self.truth == "none" else "mace"
        if self.status == "ok" and (self.verdict is None or needed not in self.metrics):
            raise ValueError(f"a run that is ok needs a verdict and the metric {needed}")
        if self.status == "ok" and (self.verdict == "unjudged") != (self.truth == "none"):
            raise ValueError("without truth a run is unjudged, and only then")
        if self.status != "ok" and not self.reason:
            raise ValueError(f"a run that is {self.status} needs a reason")
        for name, identity in self.lineage.items():
            try:
                Identity.model_validate(identity)
            except ValidationError as error:
                raise ValueError(f"the ancestor {name} has no valid identity") from error
        return self


def run_id_of(identity: Identity | Mapping[str, Any]) -> str:
    """The run id: the first 12 hex digits of the SHA-256 of the identity as canonical JSON.

    A mapping is hashed as it is, so that the id of a file that was written before a field existed stays valid. The
    metric version is hashed as 1 whatever it is: a run that is summarised again stays the run it was.

    Raises:
        ValueError: a setting is not a finite number.
    """
    content = identity.model_dump(mode="json") if isinstance(identity, Identity) else dict(identity)
    if "metric_version" in content:
        content["metric_version"] = 1
    text = json.dumps(content, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def json_schema() -> dict[str, Any]:
    """The JSON Schema of ``result.json``, published as ``docs/result.schema.json``."""
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", **Result.model_json_schema()}
