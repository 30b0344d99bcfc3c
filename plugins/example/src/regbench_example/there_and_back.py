"""Estimates that cancel: self-pairs teach a registrator, and real pairs that its two directions are inverse."""

from collections.abc import Mapping

import torch
from pydantic import Field
from torch import Tensor

import regbench as rb
from regbench import geometry


class ThereAndBackConfig(rb.ComponentConfig):
    """Set one with ``--set strategy.weight=0.5``; ``regbench plugins info there-and-back`` lists them."""

    steps: rb.Steps = Field(20_000, ge=1, description="training steps")
    weight: float = Field(0.1, ge=0, description="weight of the disagreement on real pairs, per px")

    presets = {"smoke": {"steps": 20}}


class ThereAndBack(rb.TrainingStrategy):
    """One stage without labels: corners sent to the target and back should end where they began."""

    Config = ThereAndBackConfig
    config: ThereAndBackConfig
    supervision = "none"

    def build(self, ctx: rb.Context) -> rb.Registrator:
        """The registrator alone."""
        self.registrator = ctx.registrator("registrator")
        return self.registrator

    def stages(self, ctx: rb.Context) -> tuple[rb.Stage, ...]:
        """``there-and-back`` alone."""
        steps, networks = self.config.steps, {"registrator": self.registrator}
        rate = rb.schedules.one_cycle(4e-4, steps)
        objective = rb.Objective(
            updates=("registrator",), loss=self.loss, optimiser=torch.optim.AdamW, lr=rate, precision=ctx.precision
        )
        views = ("pair", "self_source", "self_target")
        stage = rb.Stage(
            name="there-and-back", steps=steps, batch=8, views=views, objectives=(objective,), modules=networks
        )
        return (stage,)

    def loss(self, batch: rb.Batch, shared: rb.Shared) -> Mapping[str, Tensor]:
        """The registrator's own loss on self-pairs, and by how many pixels the corners of the pair miss."""
        known = sum(self._self_loss(own) for own in (batch.self_source, batch.self_target))
        source, target = batch.pair.source, batch.pair.target
        there, back = self.registrator(source, target), self.registrator(target, source)
        corners = geometry.corners(there.size, device=source.device)
        homography = geometry.homography_from_displacement(back.displacement, back.size)
        returned = geometry.transform_points(homography, corners + there.displacement, horizon=1e-3)
        missed = (returned - corners).abs().mean()
        return {"loss": known + self.config.weight * missed, "missed": missed}

    def _self_loss(self, own: rb.SelfPair) -> Tensor:
        return self.registrator.loss(self.registrator(own.warped, own.image), own.displacement)
