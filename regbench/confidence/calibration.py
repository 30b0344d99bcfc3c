"""The constants of the confidence. Frozen.

Made by ``python benchmarks/calibrate_confidence.py fit --samples benchmarks/confidence_samples.jsonl.gz``;
``docs/confidence.md`` has the pairs, the methods and what the model reaches on sets it was not fitted to.
"""

from __future__ import annotations

from regbench.confidence.logistic import Logistic

MODEL = Logistic(
    bias=-4.459,
    terms={
        "edge_z": (1.0099, -1.0021, 4.5369),
        "edge_margin": (0.2587, -2.678, 4.409),
        "coarse_z": (0.6954, -1.0978, 3.86),
        "tiles": (0.2467, 0.0, 1.3696),
        "tile_spread": (1.3755, 0.0, 1.0),
        "information_z": (0.9401, -1.0937, 4.1972),
        "information_margin": (0.0606, -2.328, 4.0163),
        "even": (2.9212, -1.3412, -0.0),
        "inliers": (0.3666, 0.699, 2.6493),
        "inlier_share": (1.1026, 0.0402, 0.9674),
        "false_alarms": (0.2345, 0.0, 3.1648),
        "inlier_spread": (0.6782, 0.0247, 0.8906),
        "cycle": (0.1422, 0.0, 3.0),
        "agreement": (0.5712, 0.0, 3.0),
    },
    offsets={
        "matches": -2.8289,
        "reverse": 0.0458,
        "other": -1.0176,
    },
)
"""Weight and range of each feature, and offset of each group that may be known."""
