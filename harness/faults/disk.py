"""A disk that can lose its power or fill up: ext4 in a file, mounted by way of a loop device.

SIGKILL ends a server, but what it wrote and did not sync stays in the kernel's page cache
and survives. A power cut does not spare it: the FS_IOC_SHUTDOWN ioctl stops the file
system at once, without flushing its log, and what was not synced is gone after the next
mount (Linux, fs/ext4/ioctl.c, EXT4_GOING_FLAGS_NOLOGFLUSH).
"""

from __future__ import annotations

import errno
import fcntl
import os
import shutil
import struct
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from threading import Lock

FS_IOC_SHUTDOWN = 0x8004587D
FIFREEZE, FITHAW = 0xC0045877, 0xC0045878
NO_LOG_FLUSH = struct.pack("I", 2)
MOUNT_POINT = "disk"
RESTORE_SECONDS = 10.0
MOUNT_OPTIONS = "loop,noatime,barrier=0"
"""Without barriers a sync costs a tenth: it need not wait until the machine's own disk has synced,
too. A cut takes what the file system has not written to its file, and never any of the file."""
SIZE_MB = 256
"""A sparse file: it takes what is written, not its size."""


class DiskError(Exception):
    """The disk could not be made, cut or mounted."""


@cache
def fault() -> str | None:
    """Return why this machine cannot make such a disk, or None if it can."""
    if sys.platform != "linux":
        return "power cuts and full disks are made with Linux's loop devices"
    if os.geteuid() != 0:
        return "mounting a loop device needs root"
    for program in ("mkfs.ext4", "mount", "umount"):
        if shutil.which(program) is None:
            return f"{program} is not installed"
    if not Path("/dev/loop-control").exists():
        return "the kernel offers no loop devices (/dev/loop-control)"
    return None


class Disk:
    """One disk in a directory of its own. Nothing outside that directory is touched."""

    def __init__(self, directory: Path, size_mb: int = SIZE_MB, origin: Disk | None = None) -> None:
        """Make an empty disk, or a copy of another, whatever its size."""
        self._image = directory / "disk.ext4"
        self.mount_point = directory / MOUNT_POINT
        self._ballast = self.mount_point / "ballast"
        self._one_copy = Lock()
        if origin is not None:
            origin._copy_to(self._image)  # noqa: SLF001 - of this class
        else:
            with self._image.open("wb") as image:
                image.truncate(size_mb * 1024 * 1024)
            _run("mkfs.ext4", "-q", "-m", "0", "-E", "lazy_itable_init=1", str(self._image))
        self.mount_point.mkdir()
        self._mount()

    def cut_power(self) -> None:
        """Stop the file system at once. Open files stay open and every access is an error."""
        _control(self.mount_point, FS_IOC_SHUTDOWN, NO_LOG_FLUSH)

    def restore_power(self) -> None:
        """Mount again, replaying the journal. No process may have files open on it any more.

        A container that another run starts just now may hold a copy of all mounts for a
        moment. While it does, the file system stays the dead one, mounted again or not.
        """
        deadline = time.monotonic() + RESTORE_SECONDS
        while True:
            _run("umount", str(self.mount_point))
            self._mount()
            if self._alive():
                return
            if time.monotonic() > deadline:
                raise DiskError(f"something keeps {self.mount_point} from being mounted anew")
            time.sleep(0.01)

    def fill(self) -> None:
        """Take all free space with a ballast file: most at once, the rest until it is refused."""
        free = shutil.disk_usage(self.mount_point).free
        with self._ballast.open("wb", buffering=0) as ballast, suppress(OSError):
            os.posix_fallocate(ballast.fileno(), 0, free * 9 // 10)
            ballast.seek(0, os.SEEK_END)
            while True:
                ballast.write(bytes(4096))

    def relieve(self) -> None:
        """Give the space back."""
        self._ballast.unlink(missing_ok=True)

    @contextmanager
    def full(self) -> Iterator[None]:
        """Leave no space on it, in the block."""
        try:
            self.fill()
            yield
        finally:
            self.relieve()

    def _copy_to(self, image: Path) -> None:
        """Copy the file of the disk, frozen meanwhile: much faster than a thousand small files."""
        with self._one_copy:
            _control(self.mount_point, FIFREEZE)
            try:
                _run("cp", "--sparse=always", str(self._image), str(image))
            finally:
                _control(self.mount_point, FITHAW)

    def _alive(self) -> bool:
        probe = self.mount_point / "probe"
        try:
            probe.touch()
            probe.unlink()
        except OSError as error:
            if error.errno == errno.EIO:
                return False
            raise
        return True

    def _mount(self) -> None:
        _run("mount", "-o", MOUNT_OPTIONS, str(self._image), str(self.mount_point))


def abandon(directory: Path) -> None:
    """Unmount the disk in a directory, if there is one, though somebody may still use it.

    Its file goes with the directory, and its loop device with the last user, or never if it was
    killed while it copied the disk: nothing can thaw what is not mounted any more.
    """
    if (directory / MOUNT_POINT).is_mount():
        with suppress(OSError):  # it is neither frozen, nor need it be alive
            _control(directory / MOUNT_POINT, FITHAW)
        _run("umount", "--lazy", str(directory / MOUNT_POINT))


def _control(mount_point: Path, command: int, argument: int | bytes = 0) -> None:
    handle = os.open(mount_point, os.O_RDONLY)
    try:
        fcntl.ioctl(handle, command, argument)
    finally:
        os.close(handle)


def _run(*command: str) -> None:
    try:
        subprocess.run(command, check=True, capture_output=True, text=True)
    except subprocess.CalledProcessError as error:
        raise DiskError(f"{command[0]} failed: {error.stderr.strip()}") from error
