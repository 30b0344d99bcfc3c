"""What this distribution offers. Imported to list it, so nothing heavy is imported here."""

from regbench import hookimpl


@hookimpl
def register_registrators(register):
    """Register the one registrator of this distribution."""
    register(
        "phase-shift",
        "regbench_example.phase_shift:PhaseShift",
        summary="translation alone, by phase correlation of gradient magnitudes",
        paper="Kuglin and Hines, The phase correlation image alignment method, 1975",
    )
