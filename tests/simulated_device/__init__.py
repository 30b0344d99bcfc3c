"""A simulated CUDA device: tensors that say they lie on ``cuda:N`` and compute on the CPU.

It raises where CUDA would raise (a tensor of the host meets one of the device, a generator of the host draws on the
device, a Triton kernel is launched on another device than its tensors') and counts what no CPU shows: operators that
make the host wait for the device, copies that block, launches.

``python -m tests.simulated_device --strategy supervised --registrator mcnet`` trains a few steps of every stage on it,
with checkpoint and resume, then evaluates. It knows no time, no streams and no kernel of CUDA.
"""
