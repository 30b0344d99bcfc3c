"""Which official distribution offers which name, so that the harness alone can say what to install."""

from __future__ import annotations

NAMES: dict[str, dict[str, str]] = {
    "regbench-datasets": {
        "dataset": (
            "diml dpdn faid folder googleearth googlemap googlemap-original llvip mscoco nirscene osdataset "
            "pdscoco vedai"
        ),
    },
    "regbench-matchers": {
        "registrator": (
            "ecc edge-search lightglue loftr orb phase-correlation redfeat rift rift2 sift superpoint-superglue"
        ),
    },
    "regbench-registrators": {
        "registrator": "cudhn-net dhn dhn-resnet34 identity ihn ihn-lite ihn1 mcnet mcnet4 mhn rhwf rhwf1 scpnet-net",
    },
    "regbench-strategies": {
        "strategy": (
            "alto bihome colreg contrast-randomised cudhn dfmir nemar scpnet self-supervised sshnet sshnet-d "
            "supervised translate"
        ),
    },
    "regbench-translators": {
        "translator": "copy-target cut cyclegan fastcut identity mimgcd munit swin-unet ugatit ugatit-light unet unsb",
    },
}
"""By distribution and role: the names, separated by spaces. A test compares them with what is installed."""


def distribution_of(role: str, name: str) -> str | None:
    """The official distribution that offers a name; None where none does."""
    return next((d for d, roles in NAMES.items() if name in roles.get(role, "").split()), None)
