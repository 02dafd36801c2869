"""`nox -s sweep`: remove what killed runs left behind. Touches nothing of living ones."""

from __future__ import annotations

from harness.servers import docker, embedded


def main() -> None:
    """Sweep containers, if a Docker daemon answers, and directories; print what went."""
    containers = [] if docker.daemon_fault() else docker.sweep()
    directories = embedded.sweep()
    for name in containers + directories:
        print(f"removed {name}")
    print(f"{len(containers)} containers and {len(directories)} directories removed")


if __name__ == "__main__":
    main()
