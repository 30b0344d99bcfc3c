"""A picture of translations: source, translation and target, each with its maximum index map (MIM)."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor

from regbench.api.translator import Translator
from regbench.ops.log_gabor import maximum_index_map


def write_gallery(translator: Translator, source: Tensor, target: Tensor, path: Path) -> None:
    """Write a picture with one row for each pair.

    Args:
        translator: set to evaluation mode; its noise comes from a fixed seed.
        source: ``(N, 3, H, W)`` in [0, 1].
        target: ``(N, 3, H, W)`` in [0, 1], not aligned with the source.
        path: PNG file to write.
    """
    from matplotlib.figure import Figure

    translator.eval()
    with torch.inference_mode():
        translated = translator.translate(source, target, generator=torch.Generator().manual_seed(0))
        columns = {}
        for name, images in (("source", source), ("translation", translated), ("target", target)):
            columns[name] = images
            columns[f"MIM of {name}"] = (maximum_index_map(images) + 1) / 2
    figure = Figure(figsize=(2 * len(columns), 2 * len(source)), layout="tight")
    axes = figure.subplots(len(source), len(columns), squeeze=False)
    for column, (name, images) in enumerate(columns.items()):
        axes[0, column].set_title(name)
        for row, image in enumerate(images.float().cpu()):
            shown = image.permute(1, 2, 0).squeeze(-1).numpy()
            axes[row, column].imshow(shown, cmap="gray", vmin=0, vmax=1)
            axes[row, column].set_axis_off()
    figure.savefig(path, dpi=100)
