"""How sure one can be of an alignment: the calibrated confidence of :mod:`regbench.confidence`."""

from __future__ import annotations

from regbench.confidence.model import Confidence as Confidence
from regbench.confidence.model import assess as assess

__all__ = ["Confidence", "assess"]
