"""The strategy role: who learns what from which data."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal, Protocol

from torch import nn

from regbench.api.config import ComponentConfig
from regbench.api.registrator import Registrator
from regbench.api.stage import Stage
from regbench.api.translator import Translator
from regbench.api.types import PairInfo


class Context(Protocol):
    """What a strategy may know about its run, and the factories of its networks.

    It holds no label, no seed of labels and no aligned pair: a strategy without supervision is not handed one. That
    guards against mistakes, not against malice (``docs/trust.md``).

    Attributes:
        info: what networks may know of the pairs: patch size, range, channels and names of the modalities.
        modules: every network of the run so far, by role name. All of them are saved with the run.
        precision: ``fp32`` or ``bf16``, to hand on to :class:`regbench.Objective`.
    """

    info: PairInfo
    modules: dict[str, nn.Module]
    precision: str

    def registrator(self, role: str) -> Registrator:
        """The run's registrator under a role name.

        The first call with a name builds it, with weights drawn from the run's seed and the name; later calls return
        the same network. Two names give two networks of the same configuration.
        """
        ...

    def translator(self, role: str) -> Translator:
        """The run's translator under a role name, built like :meth:`registrator`."""
        ...

    def module(self, role: str, build: Callable[[], nn.Module]) -> nn.Module:
        """A network of the strategy's own under a role name; ``build`` makes it at the first call with the name."""
        ...

    def teacher(self) -> Registrator:
        """What the finished run named by ``--teacher`` deploys: in eval mode, without gradients, not saved again.

        Call it in :meth:`TrainingStrategy.stages`: a finished run is opened without its teacher.

        Raises:
            UsageError: no finished run was named.
        """
        ...


class TrainingStrategy(ABC):
    """Base class of every strategy: which networks learn what, from which data, in which order.

    A strategy trains nothing itself. It makes the networks and describes their training as data
    (:class:`regbench.Stage`, :class:`regbench.Objective`), which the one trainer executes, logs, resumes after an
    interruption and distributes over processes. Everything named below is imported from ``regbench``.

    Implement:
        ``supervision``: class attribute. With ``"none"`` the strategy is not handed a true displacement; with
            ``"homography"`` the view ``pair`` carries it. Every result is labelled by it. It is one of these two
            words, a plain ``str``.
        ``build(ctx)``: makes the networks and returns the registrator that is evaluated and deployed.
        ``stages(ctx)``: says what is trained. It is called after ``build``, on the same object.

    Optional:
        ``Config``: a subclass of :class:`regbench.ComponentConfig` (pydantic), whose defaults are the published
            training. ``self.config`` holds the values, ``--set strategy.NAME=VALUE`` changes them. Numbers of steps
            are typed ``regbench.Steps``, so that a budget scales them; ``presets = {"smoke": {"steps": 20}}`` names
            values for the budget ``smoke``. The conformance suite uses the preset ``tiny`` or, without one, ``smoke``.
        ``weight_files()``: the weight files that training reads, whose content becomes part of the run's identity.
        ``provenance()``: facts for ``result.json``.

    Networks come from ``ctx`` (:class:`regbench.Context`), under role names of your choice:
        ``ctx.registrator(role)``, ``ctx.translator(role)``: what the user named on the command line.
        ``ctx.module(role, build)``: a network of your own, made by ``build()``, such as
            ``ctx.module("discriminator", lambda: Discriminator(self.config.width))``.
        ``ctx.teacher()``: the frozen registrator of a finished run, for distillation.
        ``ctx.info``, ``ctx.precision``, ``ctx.modules``: facts about the pairs, the precision, the networks so far.
        A registrator is called as ``registrator(source, target)``, returns a :class:`regbench.Registration` and has
        ``registrator.loss(registration, displacement)``; a translator has ``translate(source, target, generator=…)``.

    Views are all the data there is. ``Stage.views`` names them, and the losses find them in the
    :class:`regbench.Batch`. Images are ``(B, 3, H, W)`` float32 in [0, 1]; displacements ``(B, 4, 2)`` are pixels at
    the corners TL, TR, BL, BR of the source, x then y (``regbench.geometry`` converts, warps and composes):
        ``pair``: ``batch.pair.source``, ``.target``, not aligned; ``.displacement`` only under supervision.
        ``self_source``: a synthetic pair made of the source image alone: ``.warped`` is registered to ``.image`` by
            the known ``.displacement``; ``.mask`` is 1 where ``.warped`` shows a pixel of ``.image``.
        ``self_target``: the same, made of the target image.
        ``unpaired``: ``.source`` and ``.target``, drawn independently of each other.

    A :class:`regbench.Stage` has ``name``, ``steps``, ``batch`` (samples of a step), ``views``, ``objectives``,
    ``modules`` (every network that it uses, by role name) and, where needed:
        ``shared(batch)``: makes once a step a dict that every loss of the step receives.
        ``begin()``: called when the stage starts, such as to copy weights; ``setup()``: also after a resume, such as
            to read files.
        ``train``: names of networks in train mode, by default those that are updated; all others are in eval mode.
        ``deploys``: registrators to evaluate during the stage, for curves.

    An :class:`regbench.Objective` has ``updates`` (names of the networks it changes), ``loss``, ``optimiser``
    (parameters to optimiser), ``lr`` (step to rate, from ``regbench.schedules``), ``precision`` and, where needed,
    ``clip``, ``ema`` and ``after``. The objectives of a stage are executed in order in each step.

    A loss is called as ``loss(batch, shared)`` and returns a dict of scalars: ``loss`` is minimised, the others are
    logged. It must not wait for the device: no ``float(x)``, no ``if x > 0``, no ``x[mask]``; use ``torch.where``.
    Random numbers come from ``batch.generator``. Processes that train together hold a share of the batch each:
        a mean over samples needs nothing;
        numbers drawn for samples come from ``whole_batch.draw`` or ``batch.noise``;
        what couples samples (a batch statistic, a contrast between images, a sum) goes through ``whole_batch.gather``,
        ``total`` or ``weighted_mean``.

    What must hold:
        Neither ``build`` nor ``stages`` trains, reads a file or draws numbers other than initial weights. Called again,
            they give the same networks and the same stages. Files are read in ``Stage.begin`` or ``Stage.setup``, and
            listed in ``weight_files``.
        ``build`` makes every network that the deployed registrator needs: a finished run is opened by calling
            ``build`` and loading the saved weights into ``ctx.modules``. Networks for training alone may be made in
            ``stages``.
        ``Stage.modules`` names every network that the stage uses, by the role name of the run.
        Settings that cannot work raise ``regbench.UsageError``, in one line that says what to change.

    Example::

        import torch
        from regbench import Objective, Stage, TrainingStrategy, schedules

        class Mine(TrainingStrategy):
            supervision = "none"

            def build(self, ctx):
                self.registrator = ctx.registrator("registrator")
                return self.registrator

            def stages(self, ctx):
                objective = Objective(
                    updates=("registrator",), loss=self.loss, optimiser=torch.optim.AdamW,
                    lr=schedules.constant(1e-4), clip=1.0, precision=ctx.precision,
                )
                stage = Stage(
                    name="mine", steps=1000, batch=8, views=("self_target",), objectives=(objective,),
                    modules={"registrator": self.registrator},
                )
                return (stage,)

            def loss(self, batch, shared):
                own = batch.self_target
                registration = self.registrator(own.warped, own.image)
                return {"loss": self.registrator.loss(registration, own.displacement)}

    Register it in a module of your distribution, such as ``my_package/plugin.py``; a string names the class, so that
    listing plugins imports no torch. ``requires`` says which components it works with (``train``: has a loss), and a
    role that is not named is not used, such as the translator here. :class:`regbench.Register` has all keywords::

        from regbench import hookimpl

        @hookimpl
        def register_strategies(register):
            register("mine", "my_package.mine:Mine", summary="one line", requires={"registrator": ("train",)})

    and advertise that module in ``pyproject.toml``::

        [project.entry-points.regbench]
        my_plugin = "my_package.plugin"

    Check it, once it is installed: ``regbench plugins check my-distribution`` trains two steps of each stage and
    tests everything that must hold; ``regbench run --registrator dhn --strategy mine --budget smoke`` is a short run.
    """

    Config: ClassVar[type[ComponentConfig]] = ComponentConfig
    supervision: ClassVar[Literal["none", "homography"]]

    def __init__(self, config: ComponentConfig) -> None:
        self.config = config

    @abstractmethod
    def build(self, ctx: Context) -> Registrator:
        """Make the networks through ``ctx`` and keep them on ``self``.

        Returns:
            The registrator that is evaluated and deployed: one of ``ctx``, or one put together from networks of
            ``ctx``. It holds no parameter outside of ``ctx.modules``.

        Raises:
            UsageError: the settings, the networks or the pairs do not fit each other.
        """

    @abstractmethod
    def stages(self, ctx: Context) -> tuple[Stage, ...]:
        """What is trained, in order; called after :meth:`build`. Nothing is trained or drawn here.

        Returns:
            At least one stage; names are unique.

        Raises:
            UsageError: the settings ask for what a network does not offer.
        """

    def weight_files(self) -> Sequence[Path]:
        """The weight files that training reads after :meth:`build`, found but not loaded; by default none.

        Their hashes become part of the run's identity. Not called where a finished run is opened.

        Raises:
            DataError: a file is missing; says which one to put where.
        """
        return ()

    def provenance(self) -> Mapping[str, Any]:
        """Facts for ``result.json`` that the settings do not tell, such as hashes of files; called after training."""
        return {}
