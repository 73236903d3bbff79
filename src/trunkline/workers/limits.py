"""What a process may open. A stream takes three files (RTP, RTCP, WebSocket); the usual soft limit is 1024 of them."""

import resource

from trunkline.portable import LINUX

ELSEWHERE = 10240
"""Files: what macOS allows a process at most (OPEN_MAX), whatever its hard limit says."""


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one, or as far as the system lets us; return it."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if not LINUX:
        hard = max(soft, ELSEWHERE if hard == resource.RLIM_INFINITY else min(hard, ELSEWHERE))
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, resource.getrlimit(resource.RLIMIT_NOFILE)[1]))
    return hard


def limit_memory(size: int) -> None:
    """The process gets so many bytes of address space at most. Other systems than Linux may have no such limit."""
    try:
        resource.setrlimit(resource.RLIMIT_AS, (size, size))
    except (OSError, ValueError):
        if LINUX:
            raise
