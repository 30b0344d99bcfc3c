"""Really unaligned pairs, drawn."""

import cv2
import pytest
import torch

from regbench import geometry


@pytest.fixture(scope="module")
def scenes():
    """Ten pairs, B(H p) = A(p) but for inverted grey: images and H."""
    moved = torch.randint(-6, 7, (10, 4, 2), generator=torch.Generator().manual_seed(0)).double()
    h = geometry.homography_from_displacement(moved, (96, 96))
    noise = torch.randn(10, 1, 96, 96, generator=torch.Generator().manual_seed(1))
    for _ in range(2):
        noise = torch.nn.functional.avg_pool2d(noise, 7, 1, 3)
    a = (noise > 0).float() * 150 + 40
    b = geometry.warp(a, h.float(), padding="reflection")
    return list(a.byte()[:, 0].numpy()), list((255 - b).byte()[:, 0].numpy()), h


@pytest.fixture
def tie_points(tmp_path, scenes, monkeypatch):
    """A folder with a CSV of pairs, of which half have tie points made from H."""
    monkeypatch.setenv("REGBENCH_DATA", str(tmp_path / "packs"))
    a, b, h = scenes
    rows = ["source,target,split,points"]
    for i in range(10):
        cv2.imwrite(str(tmp_path / f"a{i}.png"), a[i])
        cv2.imwrite(str(tmp_path / f"b{i}.png"), b[i])
        rows.append(f"a{i}.png,b{i}.png,test,{f'p{i}.csv' if i % 2 else ''}")
        source = torch.tensor([[30.0, 30], [60, 35], [40, 70], [2, 2]], dtype=torch.float64)  # the last is outside
        target = geometry.transform_points(h[i], source)
        lines = [",".join(f"{v:.6f}" for v in row) for row in torch.cat([source, target], 1).tolist()]
        (tmp_path / f"p{i}.csv").write_text("xa,ya,xb,yb\n" + "\n".join(lines) + "\n")
    (tmp_path / "pairs.csv").write_text("\n".join(rows) + "\n")
    (tmp_path / "bare.csv").write_text("\n".join(",".join(row.split(",")[:3]) for row in rows) + "\n")
    return tmp_path
