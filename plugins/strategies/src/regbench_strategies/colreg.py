"""CoLReg: collaborative learning of translation and registration, without labels (Algorithm 1).

Round 0: a translator learns from unaligned images; R_s learns, self-supervised, to register a warped source to the
translation of that source; R starts as R_s and learns on the real pairs from the labels R_s gives them. Each later
round: the translator learns again, now from pairs aligned by R; R_s starts as R and learns on the better translations;
R starts as R_s. What is deployed is R alone.

Readings of what the paper leaves open, each an option. By default R sees the pair that R_s labels (eq. 18, ``student =
"literal"``). R starts as R_s, so that its last estimate has no error there; what it learns from are its earlier ones.
``"exposed"`` shows R another exposure of both images, with the same label. ``"augmented"`` also warps the source, by
another draw of the full range, and composes the label: the presets do so. Composed labels exceed the range of the test
pairs (at 128 px and ±32, identity is 37 px off on them and 25 px on test pairs), so it is for short training only.
Labels whose quadrilateral folds or leaves twice the range have no weight (``filter``), nor have those of pairs for
which R_s has no answer. ``refine_r = False`` leaves out R: R_s supplies the homographies (the fourth configuration of
Fig. 10). In ``warm_up`` steps R_s first learns to register the warped source to the source itself: there it learns to
read correlations in a hundred steps, on translations in several hundred. The paper has no warm-up, and the published
schedule none; the short presets need it. With a ``pool`` R_s meets the pairs of so many steps again and again, each
time by another warp of the source: the translator is frozen meanwhile, and what it made of them is kept.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Literal

import torch
from pydantic import Field
from torch import Tensor

from regbench import (
    Batch,
    ComponentConfig,
    Context,
    Objective,
    Registration,
    Registrator,
    Shared,
    Stage,
    Steps,
    TrainingStrategy,
    UsageError,
    geometry,
    whole_batch,
)
from regbench.schedules import LearningRate, constant, one_cycle
from regbench_strategies.blocks.probes import fidelity, spread_of
from regbench_strategies.blocks.recipe import Loss
from regbench_strategies.presets import COLREG_PRESETS

_log = logging.getLogger("regbench")


class CoLRegConfig(ComponentConfig):
    """Defaults are the paper's schedule (sec. 4.1.4)."""

    rounds: int = Field(2, ge=1, description="rounds in all (IT); 1 is round 0 alone")
    warm_up: int = Field(0, ge=0, description="steps of R_s on self-pairs before any translation")
    self_steps: Steps = Field(300_000, ge=1, description="steps of R_s in round 0")
    student_steps: Steps = Field(10_000, ge=1, description="steps of R in each round")
    refine_steps: Steps = Field(60_000, ge=1, description="steps of R_s in each later round")
    batch: int = Field(16, ge=1)
    lr: float = Field(4e-4, gt=0, description="largest rate of R_s in round 0 (one-cycle)")
    refine_lr: float = Field(1e-4, gt=0, description="largest rate of R_s in later rounds (one-cycle)")
    student_lr: float = Field(1e-4, gt=0, description="rate of R, constant")
    clip: float = Field(1.0, gt=0, description="largest gradient norm")
    student: Literal["literal", "exposed", "augmented"] = Field(
        "literal",
        description="what R sees of a pair: itself (eq. 18), another exposure, or that and another warp of the source",
    )
    reference: Literal["paired", "random"] = Field("paired", description="target image that lends its modality to R_s")
    filter: bool = Field(True, description="no weight for labels that fold or leave twice the range")
    refine_r: bool = Field(True, description="train R; False lets R_s supply the homographies")
    pool: int | None = Field(
        None, ge=1, description="steps of R_s whose pairs come again with their translations, warped anew; null: none"
    )

    presets = COLREG_PRESETS
    left_out = {"pool": None}


class CoLReg(TrainingStrategy):
    """Stages of every round; each trains one network and leaves all others as they are."""

    Config = CoLRegConfig
    config: CoLRegConfig
    supervision = "none"

    def build(self, ctx: Context) -> Registrator:
        """R, which after training is that of the last round."""
        self.translator = ctx.translator("translator")
        self.r_self = ctx.registrator("r_self")
        self.r = ctx.registrator("r") if self.config.refine_r else self.r_self
        self._fidelity: dict[str, Tensor] = {}
        self._translations: dict[int, Tensor] = {}  # of the pool, by the step that first had the pairs
        return self.r

    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """Translator, (warm-up,) R_s, R; then per round translator, R_s, R.

        Raises:
            UsageError: more than one round with a translator that cannot learn from aligned pairs.
        """
        c = self.config
        stages = list(self.translator.unpaired_stages(ctx))
        if c.warm_up:
            stages.append(self._warm_up(ctx))
        stages += self._round(ctx, 0, c.self_steps, one_cycle(c.lr, c.self_steps + 100))
        for number in range(1, c.rounds):
            try:
                stages += self.translator.aligned_stages(ctx, number, self._estimate)
            except UsageError as error:
                raise UsageError(f"colreg: {error}; use --set strategy.rounds=1") from None
            stages += self._round(ctx, number, c.refine_steps, one_cycle(c.refine_lr, c.refine_steps + 100))
        return tuple(stages)

    def _warm_up(self, ctx: Context) -> Stage:
        c = self.config
        return Stage(
            name="r-warm-up",
            steps=c.warm_up,
            batch=c.batch,
            views=("self_source",),
            objectives=(self._objective(ctx, "r_self", self._warm_up_loss, one_cycle(c.lr, c.warm_up + 100)),),
            modules={"r_self": self.r_self},
        )

    def _round(self, ctx: Context, number: int, steps: int, lr: LearningRate) -> list[Stage]:
        """R_s, then R; the translator's stages come before."""
        stages = [self._self_stage(ctx, number, steps, lr)]
        if self.config.refine_r:
            stages.append(self._student_stage(ctx, number))
        return stages

    def _self_stage(self, ctx: Context, number: int, steps: int, lr: LearningRate) -> Stage:
        return Stage(
            name=f"r-self-{number}",
            steps=steps,
            batch=self.config.batch,
            views=("pair", "self_source"),
            objectives=(self._objective(ctx, "r_self", self._self_loss, lr),),
            modules={"translator": self.translator, "r_self": self.r_self},
            begin=_copy(self.r, self.r_self) if number else None,
            setup=self._translations.clear,
            deploys={"r_self": self.r_self},
            repeat_pairs=self.config.pool,
        )

    def _student_stage(self, ctx: Context, number: int) -> Stage:
        c = self.config
        return Stage(
            name=f"r-{number}",
            steps=c.student_steps,
            batch=c.batch,
            views=("pair", "self_source") if c.student == "augmented" else ("pair",),
            objectives=(self._objective(ctx, "r", self._student_loss, constant(c.student_lr)),),
            modules={"r_self": self.r_self, "r": self.r},
            begin=_copy(self.r_self, self.r),
            setup=self._translations.clear,
            deploys={"r": self.r},
        )

    def _objective(self, ctx: Context, role: str, loss: Loss, lr: LearningRate) -> Objective:
        return Objective(
            updates=(role,),
            loss=loss,
            optimiser=torch.optim.Adam,
            lr=lr,
            clip=self.config.clip,
            precision=ctx.precision,
        )

    def _warm_up_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        """The warped source against the source itself."""
        own = batch.self_source
        registration = self.r_self(own.warped, own.image)
        loss = self.r_self.loss(registration, own.displacement)
        return {"loss": loss, "ace": _corner_error(registration, own.displacement)}

    def _self_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        """Eq. 17: the warped source against the translation of the source itself; the label is known."""
        pair, own = batch.pair, batch.self_source
        reference = pair.target
        if self.config.reference == "random":
            reference = whole_batch.gather(reference).roll(1, dims=0)[whole_batch.rows()]
        translated = self._translated(batch, pair.source, reference)
        if batch.step == 0 or not self._fidelity:  # once a stage, and once more after a resume
            self._fidelity = self._probe(pair.source, reference, translated)
        registration = self.r_self(own.warped, translated)
        loss = self.r_self.loss(registration, own.displacement)
        return {"loss": loss, "ace": _corner_error(registration, own.displacement)} | self._fidelity

    def _translated(self, batch: Batch, source: Tensor, reference: Tensor) -> Tensor:
        """The translation of the source; with a pool it is kept until the pairs come again."""
        with torch.no_grad():
            if self.config.pool is None:
                return self.translator.translate(source, reference, generator=batch.generator)
            assert batch.pair_step is not None
            if batch.pair_step not in self._translations:
                translated = self.translator.translate(source, reference, generator=batch.pair_generator)
                self._translations[batch.pair_step] = translated
            return self._translations[batch.pair_step]

    def _student_loss(self, batch: Batch, shared: Shared) -> Mapping[str, Tensor]:
        """Eq. 18: R on the real pair, against the label the frozen R_s gives it."""
        pair = batch.pair
        size = (pair.source.shape[-2], pair.source.shape[-1])
        with torch.no_grad():
            teaching = self.r_self(pair.source, pair.target)
            label, weight = teaching.displacement, self._weight(teaching)
            weights = whole_batch.gather(weight)  # the mean is one over the whole batch
            spread = spread_of(label)
            source, target = pair.source, pair.target
            if self.config.student == "augmented":
                own = batch.self_source  # warped -> source by its own label, source -> target by the teacher's
                first = geometry.homography_from_displacement(own.displacement, size)
                h = geometry.compose(geometry.homography_from_displacement(label, size), first)
                label = geometry.displacement_from_homography(h, size)
                label = torch.where(weight.view(-1, 1, 1) > 0, label, 0.0)  # a folded one may not be finite
                source = own.warped
            if self.config.student != "literal":
                source, target = _exposed(source, batch), _exposed(target, batch)
        registration = self.r(source, target)
        loss = self.r.loss(registration, label, weight / weights.mean().clamp_min(1 / len(weights)))
        return {"loss": loss, "valid": weight.mean()} | spread

    def _weight(self, teaching: Registration) -> Tensor:
        """``(B,)``, 1 for labels that may be learned from, else 0."""
        label, size = teaching.displacement, teaching.size
        usable = torch.ones(len(label), dtype=torch.bool, device=label.device) if teaching.ok is None else teaching.ok
        if self.config.filter:
            within = (label.abs() <= size[0] / 2).all(dim=-1).all(dim=-1)  # twice the published range, rho = patch / 4
            usable = usable & geometry.is_convex(label, size) & within
        return usable.float()

    def _estimate(self, source: Tensor, target: Tensor) -> Tensor:
        """H ``(B, 3, 3)`` of the current R, frozen."""
        with torch.no_grad():
            size = (source.shape[-2], source.shape[-1])
            return geometry.homography_from_displacement(self.r(source, target).displacement, size)

    def _probe(self, source: Tensor, target: Tensor, translated: Tensor) -> dict[str, Tensor]:
        """Measure whose geometry translations follow, and warn if it is the target's, before R_s learns from them."""
        to_source, to_target = fidelity(source, target, translated)
        _log.info("translations follow the source's geometry by %.2f, the target's by %.2f", to_source, to_target)
        if to_target >= to_source:
            _log.warning(
                "translations follow the target's geometry (%.2f) at least as much as the source's (%.2f): what R_s "
                "learns is half of the truth at best (docs/colreg.md); train the translator longer",
                to_target,
                to_source,
            )
        return {"follows_source": torch.tensor(to_source), "follows_target": torch.tensor(to_target)}


def _copy(from_: Registrator, to: Registrator) -> Callable[[], None]:
    def load() -> None:
        to.load_state_dict(from_.state_dict())

    return load


def _corner_error(registration: Registration, label: Tensor) -> Tensor:
    return geometry.corner_error(registration.displacement.detach(), label).mean()


def _exposed(image: Tensor, batch: Batch) -> Tensor:
    """Another exposure of each image: gain in [0.8, 1.2], offset in [-0.1, 0.1], gamma in [0.8, 1.25]."""
    generator = batch.generator
    draws = whole_batch.draw(lambda n: torch.rand(3, n, 1, 1, 1, generator=generator), len(image), dim=1, like=image)
    gain, offset, gamma = 0.8 + 0.4 * draws[0], 0.2 * (draws[1] - 0.5), 0.8 + 0.45 * draws[2]
    return (gain * image.clamp_min(1e-4) ** gamma + offset).clamp(0, 1)
