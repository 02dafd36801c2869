"""The disk that loses its power or fills up: what was synced stays, what was not is gone."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from harness.faults.disk import FIFREEZE, Disk, abandon, fault
from harness.polling import eventually


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """A small disk, unmounted in the end."""
    if fault():
        pytest.skip(f"{fault()}")
    disk = Disk(tmp_path, size_mb=16)
    yield disk
    abandon(tmp_path)
    assert not disk.mount_point.is_mount()


def write(path: Path, *, sync: bool) -> None:
    """Write a page, and let the disk have it at once or in its own time."""
    with path.open("wb") as file:
        file.write(b"x" * 4096)
        file.flush()
        if sync:
            os.fsync(file.fileno())


def attached() -> set[str]:
    """Return the files that loop devices have."""
    found = set()
    for path in Path("/sys/block").glob("loop*/loop/backing_file"):
        with suppress(OSError):  # another run's, that went away meanwhile
            found.add(path.read_text().strip())
    return found


def test_a_power_cut_takes_what_was_not_synced(disk: Disk) -> None:
    """A synced file is whole after the cut; one that the kernel only held is empty or gone."""
    write(disk.mount_point / "synced", sync=True)
    write(disk.mount_point / "held", sync=False)
    disk.cut_power()
    with pytest.raises(OSError, match="Input/output error"):
        write(disk.mount_point / "late", sync=True)
    disk.restore_power()
    assert (disk.mount_point / "synced").read_bytes() == b"x" * 4096
    held = disk.mount_point / "held"
    assert not held.exists() or held.read_bytes() == b""


def test_power_can_be_cut_again_and_again(disk: Disk) -> None:
    """Each cut spares what was synced before it."""
    for number in range(3):
        write(disk.mount_point / str(number), sync=True)
        disk.cut_power()
        disk.restore_power()
        assert len(list(disk.mount_point.glob("[0-9]"))) == number + 1


def test_a_full_disk_refuses_writes_until_it_is_relieved(disk: Disk) -> None:
    """The ballast takes all space, and gives all of it back."""
    disk.fill()
    with pytest.raises(OSError, match="No space left on device"):
        write(disk.mount_point / "more", sync=True)
    disk.relieve()
    write(disk.mount_point / "more", sync=True)


def test_a_disk_in_use_can_be_abandoned(disk: Disk, tmp_path: Path) -> None:
    """A killed run's disk is unmounted although somebody still has a file open on it."""
    with (disk.mount_point / "open").open("wb"):
        abandon(tmp_path)
        assert not disk.mount_point.is_mount()


def test_a_copy_is_another_disk_with_the_same_files(disk: Disk, tmp_path: Path) -> None:
    """What the kernel only held is in it too; neither sees what is done to the other later."""
    write(disk.mount_point / "held", sync=False)
    place = tmp_path / "copy"
    place.mkdir()
    copy = Disk(place, origin=disk)
    try:
        assert (copy.mount_point / "held").read_bytes() == b"x" * 4096
        write(disk.mount_point / "later", sync=True)
        copy.cut_power()
        copy.restore_power()
        assert not (copy.mount_point / "later").exists()
        assert (disk.mount_point / "later").read_bytes() == b"x" * 4096
    finally:
        abandon(place)


def test_a_disk_can_be_abandoned_in_the_middle_of_a_copy(disk: Disk, tmp_path: Path) -> None:
    """What a killed run has frozen is thawed: nothing could do it once it is not mounted."""
    handle = os.open(disk.mount_point, os.O_RDONLY)
    fcntl.ioctl(handle, FIFREEZE, 0)
    os.close(handle)
    abandon(tmp_path)
    assert eventually(lambda: str(tmp_path / "disk.ext4") not in attached())
