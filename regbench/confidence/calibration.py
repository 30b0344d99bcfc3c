"""The constants of the confidence. Frozen.

Made by ``python benchmarks/calibrate_confidence.py fit --samples benchmarks/confidence_samples.jsonl.gz``;
``docs/confidence.md`` has the pairs, the methods and what the model reaches on sets it was not fitted to.
"""

from __future__ import annotations

from regbench.confidence.logistic import Logistic

MODEL = Logistic(
    bias=-4.5307,
    terms={
        "edge_z": (1.0289, -1.0021, 4.5369),
        "edge_margin": (0.2799, -2.678, 4.409),
        "coarse_z": (0.6992, -1.0978, 3.86),
        "tiles": (0.3554, 0.0, 1.3696),
        "tile_spread": (1.7409, 0.0, 1.0),
        "information_z": (0.9398, -1.0937, 4.1972),
        "information_margin": (0.0404, -2.328, 4.0163),
        "even": (2.7831, -1.3412, -0.0),
        "inliers": (0.3586, 0.699, 2.6493),
        "inlier_share": (1.1027, 0.0402, 0.9674),
        "false_alarms": (0.2288, 0.0, 3.1648),
        "inlier_spread": (0.6843, 0.0247, 0.8906),
        "cycle": (0.1149, -0.0, 3.0),
        "agreement": (0.5294, 0.0, 3.0),
    },
    offsets={
        "matches": -2.9751,
        "reverse": 0.087,
        "other": -0.9326,
    },
)
"""Weight and range of each feature, and offset of each group that may be known."""
