"""The control for leaking translations: nothing learned, the target handed on."""

from __future__ import annotations

import torch

from regbench import ComponentConfig, PairInfo
from regbench_translators.copy_target import CopyTarget


def test_the_target_is_handed_on_and_nothing_is_learned():
    control = CopyTarget(ComponentConfig(), PairInfo(64, 16, 3, 1))
    source, target = torch.rand(2, 3, 64, 64), torch.rand(2, 3, 64, 64)
    assert control.translate(source, target) is target
    assert control.unpaired_stages(None) == ()
    assert not list(control.parameters())
