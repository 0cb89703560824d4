"""How long campaigns wait for data, and what they need in order not to."""

from __future__ import annotations

import numpy as np

from simulator.campaign.terms import CampaignTerms
from simulator.cost.input_pipeline import InputFlow, input_flow
from simulator.cost.plan_table import FloatArray
from simulator.spec.input_pipeline import InputSpec
from simulator.spec.prediction import InputNeeds


def input_needs(terms: CampaignTerms, *, step_s: float, n_ranks: int) -> InputNeeds | None:
    """Return what keeps a job fed whose steps take `step_s`; None where data are always there."""
    if terms.input is None:
        return None
    flow = _flow(terms, terms.input, np.array([step_s]), np.array([float(n_ranks)]))
    return InputNeeds(
        n_epochs=flow.n_epochs,
        stall_s=float(flow.stall_s[0]),
        limited_by=flow.first_epoch.limit,
        storage_bytes=terms.stored_bytes,
        store_bytes_per_s=float(flow.needed_store_bytes_per_s[0]),
        node_bytes_per_s=float(flow.needed_node_bytes_per_s[0]),
        reader_hosts=int(flow.needed_reader_hosts[0]),
    )


def input_waits(
    terms: CampaignTerms, step_s: FloatArray, ranks: FloatArray
) -> tuple[FloatArray, FloatArray]:
    """Wait of a step for its data, and of every start for the dataset, in seconds."""
    if terms.input is None:
        return np.zeros_like(ranks), np.zeros_like(ranks)
    flow = _flow(terms, terms.input, step_s, ranks)
    return flow.stall_s, flow.start_s


def _flow(
    terms: CampaignTerms, spec: InputSpec, step_s: FloatArray, ranks: FloatArray
) -> InputFlow:
    return input_flow(
        spec,
        terms.job,
        step_s=np.broadcast_to(step_s, ranks.shape) * terms.slowdown,
        n_nodes=np.ceil(ranks / terms.devices_per_node),
        cores_per_node=terms.cores_per_node,
    )
