"""What a run trains on: batches that do not depend on the plan."""

from __future__ import annotations

import json

from runtime.data.batches import Batches, BatchShape, random_batches, share, text_batches
from runtime.data.text import read_corpus
from runtime.run_dir import RunDir
from simulator.spec.errors import InputError
from simulator.spec.files import write_atomic
from simulator.spec.scenario import Scenario

__all__ = ["Batches", "open_batches", "share"]


def open_batches(scenario: Scenario, run_dir: RunDir, *, writes: bool) -> Batches:
    """Return the batches of a run.

    The rank that `writes` leaves the manifest of the text in the run directory. Raises InputError
    when a manifest is there already and the text is another one now.
    """
    shape = BatchShape(
        n_sequences=scenario.job.batch_sequences,
        sequence_length=scenario.job.sequence_length,
        vocab_size=scenario.model.vocab_size,
        seed=scenario.seed,
    )
    if scenario.run.data == "random":
        return random_batches(shape)
    corpus = read_corpus()
    if run_dir.data.exists():
        before = json.loads(run_dir.data.read_text())["sha256"]
        if before != corpus.sha256:
            raise InputError(
                f"the text has changed since the run began: sha256 {corpus.sha256[:12]}..., and "
                f"it was {before[:12]}...",
                where=str(run_dir.data),
                fix="resume with the same Python version, or start a new run",
            )
    elif writes:
        write_atomic(run_dir.data, json.dumps(corpus.manifest(), indent=1))
    return text_batches(corpus, shape)
