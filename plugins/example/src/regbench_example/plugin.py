"""What this distribution offers. Imported to list it, so nothing heavy is imported here."""

from regbench import Register, hookimpl


@hookimpl
def register_registrators(register: Register) -> None:
    """Register the one registrator of this distribution."""
    register(
        "phase-shift",
        "regbench_example.phase_shift:PhaseShift",
        summary="translation alone, by phase correlation of gradient magnitudes",
        paper="Kuglin and Hines, The phase correlation image alignment method, 1975",
    )


@hookimpl
def register_strategies(register: Register) -> None:
    """Register the one strategy of this distribution."""
    register(
        "there-and-back",
        "regbench_example.there_and_back:ThereAndBack",
        summary="self-supervised on both modalities; on real pairs both directions should cancel",
        requires={"registrator": ("train",)},
    )
