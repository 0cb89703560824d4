from typing import Any

import pytest
from pydantic import ValidationError

from simulator.spec.reliability import FailureCause, ReliabilitySpec

STORE = {"name": "store", "survives": "region", "write_bandwidth_bytes_per_s": 1e12}
PEER = {"name": "peer", "survives": "node", "write_bandwidth_bytes_per_s": 1e10}
ANY = {"name": "any", "failures_per_device_day": 1e-3}


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"failures_per_device_day": -1}, "greater than or equal to 0"),
        ({"failures_per_device_day": 1e6}, "less than or equal to 8640"),
        ({"restart_s": 10, "restart": {"init_s": 5}}, "give restart_s or restart, not both"),
        ({"causes": [ANY, ANY]}, "cause 'any' is given twice"),
        ({"checkpoint_tiers": [STORE, PEER]}, "from the nearest to the safest"),
        ({"random_failures": False}, "random_failures=false needs a replay"),
        (
            {"cohorts": [{"name": "a", "share": 0.7}, {"name": "b", "share": 0.7}]},
            "add up to 1.4, more than 1",
        ),
        (
            {"replay": [{"node": 1, "start_s": 5, "end_s": 3}]},
            "node 1 is back at 3 s, before it fails at 5 s",
        ),
        (
            {
                "replay": [
                    {"node": 1, "start_s": 0, "end_s": 30},
                    {"node": 1, "start_s": 20, "end_s": 40},
                ]
            },
            "outages of node 1 overlap: it fails again at 20 s, before it is back at 30 s",
        ),
        ({"repair_success": 0}, "greater than 0"),
        ({"recovery": "hope"}, "'wait', 'shrink', 'replan', 'isolate' or 'best'"),
    ],
)
def test_impossible_reliability(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ReliabilitySpec.model_validate(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"failures_per_device_day": -1e-9}, "greater than or equal to 0"),
        ({"effect": "slow"}, "effect slow needs slowdown > 1 and lasts_s > 0"),
        ({"effect": "corrupt"}, "effect corrupt needs detection_s"),
        ({"life": [{"share": 0.5, "shape": 2}]}, "add up to 0.5, not to 1"),
    ],
)
def test_impossible_causes(values: dict[str, Any], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        FailureCause.model_validate(ANY | values)
