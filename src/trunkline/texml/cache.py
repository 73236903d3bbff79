"""Files that are kept because they may be asked for again: spoken texts and downloads, in one folder.

Bounded by their total size; the file that was not used for longest goes first. What an earlier server left there counts
and is found again. A file is written under another name and renamed, so a crash leaves no half files.
"""

import os
from collections import OrderedDict
from contextlib import suppress
from hashlib import sha256
from itertools import count
from pathlib import Path

_UNFINISHED = ".part"


class FileCache:
    """The folder. Its methods raise OSError where the disk does not let them."""

    def __init__(self, directory: Path, limit: int) -> None:
        """`limit`: bytes of all files together. Makes the folder."""
        self._directory = directory
        self._limit = limit
        self._numbers = count()
        self._sizes: OrderedDict[str, int] = OrderedDict()
        """Of each file, the one that was not used for longest first."""
        directory.mkdir(parents=True, exist_ok=True)
        found = []
        for path in directory.iterdir():
            if path.name.endswith(_UNFINISHED):
                path.unlink(missing_ok=True)
            else:
                stat = path.stat()
                found.append((stat.st_mtime, path.name, stat.st_size))
        self._sizes.update((name, size) for _, name, size in sorted(found))
        self._total = sum(self._sizes.values())

    def get(self, *key: str) -> Path | None:
        """The file of a key, which is thereby used."""
        name = _name(key)
        if name not in self._sizes:
            return None
        path = self._directory / name
        try:
            os.utime(path)
        except OSError:
            self._forget(name)
            return None
        self._sizes.move_to_end(name)
        return path

    def blank(self) -> Path:
        """A name for a file to be written and then `put`."""
        return self._directory / f"{os.getpid()}-{next(self._numbers)}{_UNFINISHED}"

    def put(self, path: Path, *key: str) -> Path:
        """Keep a written file under a key, and make room; where it is now."""
        name = _name(key)
        size = path.stat().st_size
        kept = path.rename(self._directory / name)
        self._forget(name)
        self._sizes[name] = size
        self._total += size
        while self._total > self._limit and len(self._sizes) > 1:
            oldest = next(iter(self._sizes))
            self._forget(oldest)
            with suppress(OSError):
                (self._directory / oldest).unlink()
        return kept

    def _forget(self, name: str) -> None:
        self._total -= self._sizes.pop(name, 0)


def _name(key: tuple[str, ...]) -> str:
    return sha256("\0".join(key).encode(errors="replace")).hexdigest()
