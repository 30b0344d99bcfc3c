"""What to write instead, for each requirement of the conformance suite, and the pytest plugin that prints it.

A failure is told in three lines: the component and what is required of it (the first line of the test's docstring),
what to write instead, and what was found.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

import pytest

from regbench.plugins.registry import Component

ADVICE = {
    # every component
    "component_is_of_its_role": (
        "derive the class from regbench.Registrator, Translator, TrainingStrategy or Dataset (a metric is a "
        "function), and register it as 'package.module:Name'"
    ),
    "component_says_what_it_is": "give summary='one line' to register(...)",
    "component_claims_known_capabilities": (
        "use the words that help(regbench.plugins.hookspecs) lists in provides and requires; a word that nobody knows"
        " is never matched"
    ),
    "component_lives_in_its_own_packages": (
        "import with the full name of your package, from my_package.utils import x, never from utils import x"
    ),
    "component_settings_are_typed": (
        "derive Config from regbench.ComponentConfig and give every setting a valid default"
    ),
    "component_presets_are_valid": (
        "let presets name settings that exist, with values that their types and bounds allow"
    ),
    "component_settings_survive_json": (
        "use numbers, texts, booleans, lists and dicts as settings; JSON holds no others"
    ),
    # registrators
    "registrator_returns_a_registration": (
        "return regbench.Registration(displacements, (height, width)) with displacements (K, B, 4, 2) in pixels of "
        "the source; add the first axis for one iteration: x[None]"
    ),
    "registrator_answers_equal_images": (
        "divide by x.clamp_min(1e-6), and mark pairs without an answer in Registration(..., ok=found) instead of "
        "raising an exception"
    ),
    "registrator_treats_pairs_independently": (
        "compute statistics of each image (mean over dims 1, 2, 3), not over the batch, and normalise by layers that "
        "are fixed in eval mode"
    ),
    "registrator_is_deterministic": "keep nothing between calls, and draw numbers from a generator seeded in forward",
    "registrator_changes_nothing": (
        "write x = x * 0.5 instead of x.mul_(0.5), and call no .train() or .eval() in forward"
    ),
    "registrator_accepts_any_memory_layout": "write x.reshape(...) instead of x.view(...), and never rely on strides",
    "registrator_accepts_grey_images": "leave register as it is; it repeats the channel before it calls forward",
    "registrator_accepts_any_size": (
        "set any_size = True only where forward takes two images of any two sizes; otherwise register resizes, and "
        "displacements must refer to the patch"
    ),
    "registrator_survives_safetensors": (
        "hold every number that the estimate depends on as parameter or register_buffer, and draw none of them anew"
    ),
    "matcher_knows_directions": (
        "return where the source's corners lie in the target, less where they are, x before y: invert the homography "
        "if your method maps target to source, and swap the axes if it is (row, column)"
    ),
    "registrator_has_a_loss_with_gradients": (
        "keep the graph: no .detach(), .item() or numpy between the layers and displacements; without parameters to "
        "train leave provides=('train',) out"
    ),
    "registrator_trains_in_mixed_precision": (
        "return displacements in float32 (x.float()), and compute coordinates, angles and homographies under "
        "torch.autocast(x.device.type, enabled=False)"
    ),
    "registrator_weighs_samples": (
        "multiply each sample's own error by weight before the mean, (weight * error).mean()"
    ),
    "registrator_learns": "let loss fall with the corner error; check its sign, and that forward uses the layers",
    "registrator_offers_features": (
        "return maps (B, C, h, w) from features(image), or leave 'features' out of provides"
    ),
    # translators
    "translator_returns_images": (
        "return the shape and dtype of the source in [0, 1]: end with .sigmoid() or .clamp(0, 1), and work with "
        "generator=None as well"
    ),
    "translator_changes_nothing": "write x = x * 0.5 instead of x.mul_(0.5), and call no .train() or .eval()",
    "translator_draws_from_its_generator_alone": (
        "write torch.randn(shape, generator=generator), on the CPU, then .to(...)"
    ),
    "translator_passes_gradients": (
        "keep the graph from the source to the result: no .detach(), no torch.no_grad(); or leave 'differentiable' "
        "out of provides"
    ),
    "translator_offers_features": "return maps (B, C, h, w), from fine to coarse and the same for both modalities",
    "translator_learns_from_unpaired_images": (
        "return stages that name what they update by self.role(ctx) and list every network they use in modules; train"
        " nothing while planning"
    ),
    "translator_learns_from_aligned_images": (
        "return stages of different names for each round, warp by the estimate that is handed in, and train nothing "
        "while planning"
    ),
    # strategies
    "strategy_declares_its_supervision": "set the class attribute supervision = 'none' or 'homography'",
    "strategy_plans_without_training": (
        "let build and stages only make networks and Stage objects; read files and copy weights in Stage.begin or "
        "Stage.setup, draw numbers from batch.generator"
    ),
    "strategy_names_the_modules_of_the_run": (
        "make networks by ctx.registrator, ctx.translator or ctx.module(role, build), and give the same role names to"
        " Stage.modules"
    ),
    "strategy_deploys_a_registrator_of_the_run": (
        "return from build a registrator of ctx.registrator(role), or one whose every layer was made by ctx"
    ),
    "strategy_updates_exactly_what_it_names": (
        "list in updates what the loss trains, and only that; detach what should stay, and let the loss use "
        "everything that is listed"
    ),
    "strategy_never_waits_for_the_device": (
        "write torch.where(mask, a, b) instead of x[mask] and if x > 0, and return tensors instead of float(x)"
    ),
    "strategy_is_rebuilt_from_its_weights": (
        "make in build, through ctx, every network that the deployed one uses; what is not in ctx.modules is lost "
        "with the process"
    ),
    # data sets
    "dataset_has_a_card": "fill every field of regbench.Card; a text such as 'unknown' is an answer",
    "dataset_states_its_pack": "return size as (height, width) and two names of modalities, without reading an image",
    "dataset_explains_a_wrong_folder": (
        "raise regbench.DataError from keys with the folder and what was expected there: f'{folder}: no images; "
        "expected {self.card.layout}'"
    ),
    "dataset_keys_are_unique_and_stable": (
        "return sorted, unique names, and override group(split, key) so that no group is in both splits"
    ),
    "dataset_reads_deterministically": "read by the key alone; seed what is drawn by the key, and keep no state",
    "dataset_images_are_what_a_pack_stores": (
        "return (H, W) or (H, W, 3) RGB arrays of uint8, uint16 or float32, of one size where aligned, and a "
        "homography only where aligned is False"
    ),
    "dataset_is_prepared": "give printable keys, and put no image into both splits",
    "dataset_refuses_unknown_keys": "raise regbench.DataError from read when the key is not one of keys(split)",
    # metrics
    "metric_is_a_finite_number": "return one finite float of 0 or more (0 to 100 where the summary says percent)",
    "metric_survives_failures": "use errors.scored, which is finite for failed pairs, instead of errors.error",
    "metric_ignores_the_order_of_pairs": "compute a mean, a median or a quantile; use no index of a pair",
    "metric_points_the_way_it_says": "register it with provides=('higher_is_better',) where larger is better",
    "metric_changes_nothing": "copy before you sort or write: np.sort(x) instead of x.sort()",
}
"""By name of the test, without ``test_``."""


class Explained:
    """Prints each failure as a requirement and what to write instead, and why components were not checked."""

    def __init__(self) -> None:
        self.told: dict[str, str] = {}
        self.unchecked: dict[str, None] = {}

    def pytest_collection_modifyitems(self, items: list[Any]) -> None:
        """Leave out tests of roles and capabilities that no component under test has."""
        items[:] = [item for item in items if "component" not in _parameters(item) or _component(item) is not None]

    @pytest.hookimpl(hookwrapper=True)
    def pytest_runtest_makereport(self, item: Any, call: Any) -> Generator[None, Any, None]:
        """Note the requirement that a test states and what broke it, or why it was skipped."""
        outcome = yield
        report = outcome.get_result()
        if report.failed and call.excinfo is not None:
            self.told.setdefault(f"{item.function.__name__} {_component(item)}", explanation(item, call.excinfo))
        if report.skipped and (component := _component(item)):
            self.unchecked[f"{component.role} {component.name}: {getattr(call.excinfo, 'value', '')}"] = None

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        """Write what was noted."""
        for title, texts in (("not checked", self.unchecked), ("what to write instead", self.told.values())):
            if texts:
                terminalreporter.section(title)
                for text in texts:
                    terminalreporter.write_line(text)


def _parameters(item: Any) -> dict[str, Any]:
    return dict(item.callspec.params) if hasattr(item, "callspec") else {}


def _component(item: Any) -> Component | None:
    """The component that a test is about; None for a test of a role or capability that none has."""
    found = _parameters(item).get("component")
    return found if isinstance(found, Component) else None


def explanation(item: Any, excinfo: Any) -> str:
    """The three lines of a failed test."""
    component = _component(item)
    who = f"{component.role} {component.name}" if component else item.name
    required = (item.function.__doc__ or "").strip().splitlines()[0]
    advice = ADVICE[item.function.__name__.removeprefix("test_")]
    found = next(iter(str(excinfo.value).strip().splitlines()), "")
    return f"{who}: {required}\n  write: {advice}\n  found: {excinfo.typename}{': ' if found else ''}{found}"
