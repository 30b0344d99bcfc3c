"""Recording on a machine without a GPU; the rest is in tests/gpu."""

import torch

from regbench.tools.cuda_graph import capture_cuda_graph


def test_on_a_cpu_there_is_nothing_to_record():
    calls = []
    assert capture_cuda_graph(lambda x: calls.append(x), torch.ones(2)) is None
    assert not calls
