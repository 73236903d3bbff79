"""What a process may open. A stream takes three files (RTP, RTCP, WebSocket); the usual soft limit is 1024 of them."""

import resource


def raise_file_limit() -> int:
    """Raise the soft limit of open files to the hard one; return it."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    return hard
