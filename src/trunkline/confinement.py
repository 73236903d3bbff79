"""What child processes get and may do: a short environment, no new privileges, no network where they need none.

Media workers need sockets. The decoder reads files of customers with libav, and espeak-ng reads their texts: a fault in
either must not become a way into the network or other processes. A filter of system calls (seccomp(2), by libseccomp)
refuses them with EPERM. Where there is no libseccomp they run without it.

This file is a program, too, which Python runs without its site packages: `confinement.py PROGRAM ARGUMENT…` becomes
that program, confined. So it imports nothing of ours.
"""

import ctypes
import os
import sys
from contextlib import suppress
from errno import EPERM

KEPT = frozenset({"HOME", "LANG", "LANGUAGE", "PATH", "TMPDIR", "TZ", "TRUNKLINE_PORTABLE", "TRUNKLINE_UNCOMPILED"})
KEPT_PREFIXES = ("LC_", "LD_", "MALLOC_", "PYTHON", "RES_", "SSL_CERT_", "ESPEAK_")
"""Variables that children get: how they find programs, libraries, certificates, names of hosts, languages. No secret of
ours is in them."""
LIBRARY = "libseccomp.so.2"
NETWORK = ("socket", "socketpair", "connect", "bind", "listen", "accept", "accept4")
OTHERS = (
    *("ptrace", "process_vm_readv", "process_vm_writev", "pidfd_getfd", "pidfd_send_signal", "kcmp", "kill", "tkill"),
    *("bpf", "perf_event_open", "io_uring_setup", "userfaultfd", "keyctl", "add_key", "request_key"),
    *("mount", "umount2", "move_mount", "fsopen", "open_tree", "pivot_root", "chroot", "unshare", "setns"),
    *("init_module", "finit_module", "delete_module", "kexec_load", "kexec_file_load", "open_by_handle_at"),
)
"""Of other processes and of the kernel."""
PROGRAMS = ("execve", "execveat", "fork", "vfork")
_PR_SET_NO_NEW_PRIVS = 38
_ALLOW, _ERRNO = 0x7FFF0000, 0x00050000
"""SCMP_ACT_ALLOW, SCMP_ACT_ERRNO."""
_TSYNC = 4
"""SCMP_FLTATR_CTL_TSYNC: the filter is for all threads."""


class NotConfined(Exception):
    """There is no filter; the text is the reason, for people."""


def environment() -> dict[str, str]:
    """The variables that a child process gets."""
    return {name: value for name, value in os.environ.items() if name in KEPT or name.startswith(KEPT_PREFIXES)}


def no_new_privileges() -> None:
    """From now on no program that this process starts gains privileges (setuid); cannot be undone (prctl(2))."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)


def confine(*, programs: bool) -> None:
    """Without network and other processes from now on; `programs`: it may start programs, confined as it is. Open
    sockets go on. Raises NotConfined."""
    no_new_privileges()
    try:
        library = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise NotConfined(f"{LIBRARY} is not installed") from error
    library.seccomp_init.restype = ctypes.c_void_p
    library.seccomp_init.argtypes = [ctypes.c_uint32]
    library.seccomp_attr_set.argtypes = [ctypes.c_void_p, ctypes.c_int, ctypes.c_uint32]
    library.seccomp_rule_add.argtypes = [ctypes.c_void_p, ctypes.c_uint32, ctypes.c_int, ctypes.c_uint]
    library.seccomp_load.argtypes = library.seccomp_release.argtypes = [ctypes.c_void_p]
    context = library.seccomp_init(_ALLOW)
    if not context:
        raise NotConfined(f"{LIBRARY} makes no filter")
    try:
        library.seccomp_attr_set(context, _TSYNC, 1)
        for name in (*NETWORK, *OTHERS, *(() if programs else PROGRAMS)):
            number = library.seccomp_syscall_resolve_name(name.encode())
            if number >= 0:  # else this machine has no such call, or only as a part of another
                library.seccomp_rule_add(context, _ERRNO | EPERM, number, 0)
        failure = library.seccomp_load(context)
    finally:
        library.seccomp_release(context)
    if failure:
        raise NotConfined(f"the kernel takes no filter: {os.strerror(abs(failure))}")


def command(program: str, *arguments: str) -> tuple[str, ...]:
    """What starts a program, by its absolute path, confined."""
    return (sys.executable, "-I", "-S", __file__, program, *arguments)


def main(program: str, *arguments: str) -> None:
    """Become the program."""
    with suppress(NotConfined):  # the decoder, which is confined in the same way, says so in the log
        confine(programs=True)
    os.execv(program, (program, *arguments))


if __name__ == "__main__":
    main(*sys.argv[1:])
