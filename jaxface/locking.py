"""Locks on open files, of the kernel (`flock`): they end with the process, however that ends.

Host code.
"""

from __future__ import annotations

try:
    import fcntl
except ImportError:  # Windows: two runs at a time are not noticed there
    fcntl = None  # type: ignore[assignment]


def lock(descriptor: int, *, shared: bool = False) -> None:
    """Locks an open file until it is closed, and does not wait; does nothing on Windows.

    Args:
        descriptor: of the open file, as `os.open` returns it.
        shared: with others whose lock is shared, or exclusively.

    Raises:
        BlockingIOError: another lock stands against it.
        OSError: the file system has no locks.
    """
    if fcntl:
        mode = fcntl.LOCK_SH if shared else fcntl.LOCK_EX
        fcntl.flock(descriptor, mode | fcntl.LOCK_NB)
