"""What the tests of the runtime share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest


@pytest.fixture
def one_process_group() -> Iterator[None]:
    """A process group of this process alone, without a port."""
    import torch.distributed as dist

    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)  # type: ignore[attr-defined]
    yield
    dist.destroy_process_group()
