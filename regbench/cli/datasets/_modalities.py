"""Lines of ``regbench datasets stats`` on what the modalities share and what each is like."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any


def modality_lines(entries: Sequence[Mapping[str, Any]], names: tuple[str, str]) -> Iterator[str]:
    """Describe the entries of :func:`regbench.data.modality_stats.measure_modalities`.

    Args:
        entries: one a scale.
        names: of modality A and B.
    """
    for entry in entries:
        scale = f"{entry['patch']} px" + (f" / {entry['reduce']}" if entry["reduce"] > 1 else "")
        shared = entry["shared"]
        if shared is not None:
            yield (
                f"{scale:<9} |r| of grey {_value(shared['grey'])}  r {_value(shared['grey_signed'])}  r of value-MIMs "
                f"{_value(shared['mim'])}  edges {_value(shared['edges'])}   ({entry['patches']} patches)"
            )
        if entry["reduce"] > 1:
            continue
        for name, side in zip(names, (entry["a"], entry["b"]), strict=True):
            looks = f"{1 / side['speckle']:.0f}" if side["speckle"] > 1e-4 else "over 10000"
            bands = "–" if side["bands"] is None else " ".join(f"{share:.2f}" for share in side["bands"])
            yield (
                f"{scale:<9} {name}: mean {side['mean']:.2f}  contrast {side['contrast']:.3f}  "
                f"noise {side['noise']:.4f}  looks {looks}  patchiness {side['patchiness']:.2f}  "
                f"spectrum f^-{_value(side['slope'])}, bands {bands}"
            )


def _value(number: float | None) -> str:
    return "–" if number is None else f"{number:.2f}"
