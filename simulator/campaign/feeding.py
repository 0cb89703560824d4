"""What a campaign needs in order not to wait for data."""

from __future__ import annotations

import numpy as np

from simulator.campaign.input_pipeline import input_flow
from simulator.campaign.terms import CampaignTerms
from simulator.spec.prediction import InputNeeds


def input_needs(terms: CampaignTerms, *, step_s: float, n_ranks: int) -> InputNeeds | None:
    """Return what keeps a job fed whose steps take `step_s`; None where data are always there."""
    if terms.input is None:
        return None
    flow = input_flow(
        terms.input,
        terms.job,
        step_s=step_s * terms.slowdown,
        n_nodes=np.ceil(n_ranks / terms.devices_per_node),
        cores_per_node=terms.cores_per_node,
    )
    return InputNeeds(
        n_epochs=flow.n_epochs,
        stall_s=float(flow.stall_s[0]),
        limited_by=flow.first_epoch.limit,
        storage_bytes=terms.stored_bytes,
        store_bytes_per_s=float(flow.needed_store_bytes_per_s[0]),
        node_bytes_per_s=float(flow.needed_node_bytes_per_s[0]),
        reader_hosts=int(flow.needed_reader_hosts[0]),
    )
