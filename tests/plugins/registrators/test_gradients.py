"""Gradients against finite differences, along the gradient itself, for every network that detaches nothing.

MHN, RHWF and SSHNet's IHN hold earlier iterations constant on purpose, so what they return is no derivative of the
loss; a finite difference has nothing to say of them.
"""

import pytest
import torch

from regbench.plugins.registry import registry
from regbench.testing.images import labelled_pair
from regbench.testing.parts import PROTOCOL, build_registrator

STEP = 2e-4  # of the loss: small against the kinks of ReLU and pooling, large against float32's rounding


@pytest.mark.parametrize("name", ["cudhn-net", "dhn", "dhn-resnet34", "ihn", "ihn1", "mcnet"])
def test_gradient_is_the_slope_of_the_loss(name):
    network = build_registrator(registry().get("registrator", name))
    source, target, label = labelled_pair(2, PROTOCOL)
    loss = network.loss(network(source, target), label)
    loss.backward()
    moved = [(p, p.grad) for p in network.parameters() if p.grad is not None]
    squared = float(sum(g.square().sum() for _, g in moved))
    along = STEP * float(loss.detach()) / squared
    ends = []
    with torch.no_grad():
        for share in (1, -2):
            for p, g in moved:
                p.add_(g, alpha=share * along)
            ends.append(float(network.loss(network(source, target), label)))
    assert (ends[0] - ends[1]) / (2 * along) == pytest.approx(squared, rel=0.05)
