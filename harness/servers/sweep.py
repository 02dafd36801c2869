"""`nox -s sweep`: remove what killed runs left behind. Touches nothing of living ones."""

from __future__ import annotations

from harness.servers import directories, engine


def sweep_all() -> tuple[list[str], list[str]]:
    """Sweep containers, if a Docker daemon answers, and directories; return both's names."""
    return [] if engine.daemon_fault() else engine.sweep(), directories.sweep()


def main() -> None:
    """Sweep, and print what went."""
    containers, folders = sweep_all()
    for name in containers + folders:
        print(f"removed {name}")
    print(f"{len(containers)} containers and {len(folders)} directories removed")


if __name__ == "__main__":
    main()
