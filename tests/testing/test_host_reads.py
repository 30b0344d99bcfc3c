"""The watch for host reads sees what would make a GPU wait, and nothing else."""

import pytest
import torch

from regbench.testing.host_reads import HostReads

X = torch.tensor([1.0, -2.0, 3.0])


@pytest.mark.parametrize(
    "read",
    [
        lambda: float(X.sum()),
        lambda: X.sum().item(),
        lambda: 1 if X.sum() > 0 else 0,
        lambda: X[X > 0],
        lambda: X.nonzero(),
        lambda: torch.equal(X, X),
        lambda: X.clone().index_put_((X > 0,), torch.zeros(())),
    ],
)
def test_a_read_is_found_with_its_line(read):
    with HostReads() as reads:
        read()
    assert reads.places
    assert "test_host_reads.py" in reads.places[0]


def test_what_stays_on_the_device_is_not():
    with HostReads() as reads:
        torch.where(X > 0, X, torch.zeros(())).mean()
        X[torch.tensor([2, 0])].sum()
        X.clone().requires_grad_().square().sum().backward()
    assert not reads.places


def test_what_was_drawn_on_the_host_may_be_read():
    generator = torch.Generator().manual_seed(0)
    with HostReads() as reads:
        places = torch.randint(0, 5, (3,), generator=generator) + 1
        int(places[0])
    assert not reads.places
    with HostReads() as reads:
        float((places * X).sum())
    assert reads.places
