"""What the tests of the runtime share."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(autouse=True)
def ranks_find_the_tests(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let ranks import jobs from here: they run with PYTHONSAFEPATH, outside of this folder."""
    monkeypatch.setenv("PYTHONPATH", str(Path(__file__).resolve().parents[2]))


@pytest.fixture
def one_process_group() -> Iterator[None]:
    """A process group of this process alone, without a port."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    yield
    dist.destroy_process_group()
