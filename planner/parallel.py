"""Work shared out over processes: of this machine, or of a Dask cluster."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import TypeVar

from simulator.spec.errors import InputError, RunError, unknown_name

A = TypeVar("A")
B = TypeVar("B")

NEEDS = {"local": "joblib", "dask": "distributed"}
"""Backends, and the package without which each is not there."""
PER_JOB = 4
"""Pieces of work that a process gets at once; after each batch what is done can be kept."""


@dataclass(frozen=True, slots=True)
class Workers:
    """Who does the work."""

    backend: str = "local"
    address: str = ""
    """Of a cluster's scheduler; without one Dask starts a cluster on this machine."""
    n_jobs: int = 1

    @classmethod
    def of(cls, text: str, n_jobs: int) -> Workers:
        """Read `local`, `dask` or `dask=tcp://host:8786`.

        Raises InputError for another name, no processes, and a package that is not installed.
        """
        if n_jobs == 0:
            raise InputError(
                "0 processes do nothing", where="--jobs", fix="1 or more; -1: all cores"
            )
        backend, _, address = text.partition("=")
        if backend not in NEEDS:
            raise unknown_name("backend", backend, NEEDS, where="--backend")
        package = NEEDS[backend]
        if find_spec(package) is None:
            raise InputError(
                f"{backend} needs the package {package}, which is not installed",
                where="--backend",
                fix=f"pip install {package}, or leave --backend out to use this machine",
            )
        return cls(backend, address, n_jobs)

    def run(self, work: Callable[[A], B], pieces: Iterable[A]) -> Iterator[B]:
        """Yield what becomes of every piece, in their order."""
        if self.backend == "local" and self.n_jobs == 1:
            yield from map(work, pieces)
            return
        from joblib import Parallel, cpu_count, delayed

        n_jobs = self.n_jobs if self.backend == "local" else -1
        size = PER_JOB * (cpu_count() if n_jobs < 0 else n_jobs)
        left = iter(pieces)
        with self._cluster(), Parallel(n_jobs=n_jobs) as pool:
            while batch := list(itertools.islice(left, size)):
                yield from pool(delayed(work)(piece) for piece in batch)

    @contextmanager
    def _cluster(self) -> Iterator[None]:
        """Have a cluster do what joblib shares out. Raises InputError or RunError without one."""
        if self.backend == "local":
            yield
            return
        from joblib import parallel_config

        distributed = import_module("distributed")
        try:
            client = distributed.Client(self.address or None, timeout="10s")
        except ValueError as error:
            raise InputError(
                f"{self.address!r} is no address: {error}",
                where="--backend",
                fix="write dask=tcp://HOST:8786",
            ) from None
        except OSError as error:
            raise RunError(f"no Dask scheduler at {self.address}: {error}") from None
        with client, parallel_config(backend="dask"):
            yield
