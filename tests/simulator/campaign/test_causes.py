from typing import Any

import pytest
from pydantic import ValidationError

from simulator.campaign.causes import outright, resolve_causes
from simulator.campaign.events import simulate_campaign
from simulator.campaign.terms import campaign_terms
from simulator.catalog import find_failure_profile
from simulator.spec.errors import InputError
from simulator.spec.reliability import FailureCause, Outage, ReliabilitySpec
from tests.simulator.campaign.settings import scenario_of, setting_of

LLAMA3 = find_failure_profile("llama3-16k-h100")


def rates(asked: ReliabilitySpec) -> float:
    return sum(cause.failures_per_device_day for cause in resolve_causes(asked, LLAMA3))


def test_published_causes_add_up_to_the_published_rate() -> None:
    assert len(LLAMA3.causes) == 18
    assert rates(ReliabilitySpec()) == pytest.approx(0.4736e-3, rel=1e-3)


def test_a_rate_scales_the_causes() -> None:
    assert rates(ReliabilitySpec(failures_per_device_day=1e-3)) == pytest.approx(1e-3)
    own = (FailureCause(name="own", failures_per_device_day=5.0),)
    scaled = resolve_causes(ReliabilitySpec(failures_per_device_day=1e-3, causes=own), LLAMA3)
    assert [cause.name for cause in scaled] == ["own"]
    assert scaled[0].failures_per_device_day == pytest.approx(1e-3)


def test_more_causes_come_on_top() -> None:
    more = (FailureCause(name="spot", failures_per_device_day=0.5),)
    assert rates(ReliabilitySpec(failures_per_device_day=1e-3, more_causes=more)) == pytest.approx(
        0.501
    )


def test_a_factor_is_on_all_rates() -> None:
    more = (FailureCause(name="hang", failures_per_device_day=1e-4, failures_per_job_day=0.5),)
    usual = resolve_causes(ReliabilitySpec(more_causes=more), LLAMA3)
    doubled = resolve_causes(ReliabilitySpec(more_causes=more, failure_factor=2), LLAMA3)
    assert [cause.failures_per_device_day for cause in doubled] == [
        2 * cause.failures_per_device_day for cause in usual
    ]
    assert (usual[-1].failures_per_job_day, doubled[-1].failures_per_job_day) == (0.5, 1.0)


def test_a_factor_is_the_rate_that_it_leads_to() -> None:
    """All engines read the causes: twice 1e-4 is 2e-4 in closed form and by events."""
    twice: dict[str, Any] = {"failures_per_device_day": 1e-4, "failure_factor": 2.0}
    once: dict[str, Any] = {"failures_per_device_day": 2e-4}
    assert campaign_terms(scenario_of(**twice)) == campaign_terms(scenario_of(**once))
    assert simulate_campaign(setting_of(days=5, **twice)) == simulate_campaign(
        setting_of(days=5, **once)
    )


def test_a_factor_of_nothing_is_no_failure() -> None:
    assert resolve_causes(ReliabilitySpec(failure_factor=0), LLAMA3) == ()
    with pytest.raises(ValidationError, match="greater than or equal to 0"):
        ReliabilitySpec(failure_factor=-1)


def test_nothing_is_repaired_before_it_is_noticed() -> None:
    slow = FailureCause(name="hang", failures_per_device_day=1e-3, detection_s=600)
    with pytest.raises(InputError, match="hang is repaired after 60 s and noticed after 10 min"):
        resolve_causes(ReliabilitySpec(causes=(slow,), repair_s=60), LLAMA3)
    own = slow.model_copy(update={"repair_s": 60.0})
    with pytest.raises(InputError, match="nothing is repaired before it is noticed"):
        resolve_causes(ReliabilitySpec(more_causes=(own,)), LLAMA3)
    restart_only = own.model_copy(update={"repair_fraction": 0.0})
    assert resolve_causes(ReliabilitySpec(causes=(restart_only,)), LLAMA3)


def test_nothing_is_random_in_a_mere_replay() -> None:
    asked = ReliabilitySpec.model_validate(
        {"random_failures": False, "replay": [{"node": 0, "start_s": 1, "end_s": 2}]}
    )
    assert resolve_causes(asked, LLAMA3) == ()


def test_said_outright_nothing_scales_the_causes_any_more() -> None:
    asked = ReliabilitySpec(
        failure_factor=3,
        failures_per_device_day=1e-3,
        more_causes=(FailureCause(name="own", failures_per_job_day=0.5),),
    )
    said = outright(asked, LLAMA3)
    assert resolve_causes(said, LLAMA3) == resolve_causes(asked, LLAMA3)
    assert (said.failure_factor, said.failures_per_device_day, said.more_causes) == (1.0, None, ())
    outage = Outage(node=0, start_s=0.0, end_s=9.0)
    alone = asked.model_copy(update={"random_failures": False, "replay": (outage,)})
    assert resolve_causes(outright(alone, LLAMA3), LLAMA3) == ()
