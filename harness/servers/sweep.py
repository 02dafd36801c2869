"""`nox -s sweep`: remove what killed runs left behind. Touches nothing of living ones."""

from __future__ import annotations

from harness.servers import docker, embedded


def sweep_all() -> tuple[list[str], list[str]]:
    """Sweep containers, if a Docker daemon answers, and directories; return both's names."""
    containers = [] if docker.daemon_fault() else docker.sweep()
    return containers, embedded.sweep()


def main() -> None:
    """Sweep, and print what went."""
    containers, directories = sweep_all()
    for name in containers + directories:
        print(f"removed {name}")
    print(f"{len(containers)} containers and {len(directories)} directories removed")


if __name__ == "__main__":
    main()
