"""What a run trains on: batches that do not depend on the plan."""

from __future__ import annotations

from runtime.data.batches import (
    Batches,
    BatchShape,
    file_batches,
    prefetched,
    random_batches,
    share,
)
from runtime.data.manifest import read_manifest
from runtime.data.prepare import prepare_data
from runtime.data.store import TokenStore
from runtime.run_dir import RunDir
from simulator.spec.scenario import Scenario

__all__ = ["Batches", "open_batches", "prefetched", "prepare_data", "share"]


def open_batches(scenario: Scenario, run_dir: RunDir) -> Batches:
    """Return the batches of a run whose data have been prepared."""
    shape = BatchShape(
        n_sequences=scenario.job.batch_sequences,
        sequence_length=scenario.job.sequence_length,
        vocab_size=scenario.model.vocab_size,
        seed=scenario.seed,
    )
    if scenario.run.data_built_in == "random":
        return random_batches(shape)
    return file_batches(TokenStore(read_manifest(run_dir.data)), shape)
