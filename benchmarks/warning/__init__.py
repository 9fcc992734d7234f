"""How early, how rightly and how quietly faults are warned of, beside what is bought today."""

NEEDS_PACKAGES = True


def main(quick: bool) -> int:
    """Runs the benchmark; what it needs is imported here, for the generator is used without."""
    from benchmarks.warning.bench import run

    return run(quick)
