"""Signs of life: ranks and their agent touch a file now and then, and the launcher watches them.

A process that is stopped, swapped out or stuck inside a call that lets no thread run stays silent;
its peers would wait for it until their exchanges time out.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Self

BEAT_S = 0.5
SUFFIX = ".alive"


class Heartbeat:
    """Touches a file from a thread until the process ends it, or dies."""

    def __init__(self, folder: Path, name: str) -> None:
        self._path = folder / f"{name}{SUFFIX}"
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._beat, daemon=True)

    def __enter__(self) -> Self:
        self._path.write_text(str(os.getpid()))
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._thread.join()
        self._path.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(BEAT_S):
            with suppress(OSError):  # the next beat may reach the file again
                os.utime(self._path)


@dataclass(slots=True)
class _Seen:
    beat_ns: int
    since_s: float
    """On the watcher's clock."""


class Watch:
    """Tells whose last beat is long ago, by its own clock: that of the files may jump."""

    def __init__(
        self, folder: Path, silence_s: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._folder = folder
        self._silence_s = silence_s
        self._clock = clock
        self._seen: dict[str, _Seen] = {}

    def silent(self) -> list[str]:
        """Return the names of the processes that are there and have not beaten for so long."""
        return [
            path.stem for path in sorted(self._folder.glob(f"*{SUFFIX}")) if self._is_mute(path)
        ]

    def _is_mute(self, path: Path) -> bool:
        now_s = self._clock()
        try:
            beat_ns = path.stat().st_mtime_ns
            seen = self._seen.get(path.stem)
            if seen is None or seen.beat_ns != beat_ns:
                self._seen[path.stem] = _Seen(beat_ns, now_s)
                return False
            return now_s - seen.since_s > self._silence_s and _exists(int(path.read_text()))
        except (OSError, ValueError):
            return False  # it has just ended, or just begun


def _exists(pid: int) -> bool:
    """Return whether there is such a process; one that was killed leaves its file behind."""
    try:
        os.kill(pid, 0)
    except (OSError, OverflowError):
        return False
    return True
