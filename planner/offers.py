"""What one plan costs by all known offers: on demand, reserved, spot, of every provider."""

from __future__ import annotations

from planner.fewer_nodes import NewPlans
from planner.objective import meets
from simulator.campaign.causes import outright, with_rates
from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.predict import state_bytes
from simulator.catalog import find_failure_profile
from simulator.catalog.offers import offers_of
from simulator.spec.base import Spec
from simulator.spec.errors import NoFeasiblePlan
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import CampaignPrediction, Prediction, StepPrediction
from simulator.spec.price import Commitment, PriceProfile
from simulator.spec.reliability import FailureCause, ReliabilitySpec
from simulator.spec.scenario import Scenario

NOTICE_S = 120.0
"""Assumed: warning before a spot node is taken away."""
AWAY_S = 3600.0
"""Assumed: mean time until another one is there instead."""
MOST_PREEMPTIONS = 240.0
"""Per node and day, beyond which nobody trains."""
_HALVINGS = 16


class Offered(Spec):
    """What a training costs by one offer."""

    name: str
    provider: str
    commitment: Commitment
    date: str
    usd_per_device_hour: float
    committed_s: float
    """The rent is paid for at least that long."""
    calendar_s: float
    """With the preemptions of the scenario where it is spot, without them where it is not."""
    cost_usd: float
    meets_goal: bool
    """Whether it keeps deadline and budget."""
    preemptions_per_node_day: float | None
    """Of spot: how often every node may be taken away before the provider's cheapest other offer
    (of all, where it has none) is better, or the deadline is missed; None where spot is no better
    anyhow, and for other commitments."""


def offered(scenario: Scenario, plan: PlanSpec, step: StepPrediction) -> tuple[Offered, ...]:
    """Return what the training of a plan costs by the user's offers and the catalog's."""
    trial = _Trial(scenario, plan, step)
    offers = offers_of(scenario.economics, scenario.cluster.device.name)
    lasting = [offer for offer in offers if offer.commitment != "spot"]
    kept = [(offer, trial.kept_cost_usd(offer)) for offer in lasting]
    found = []
    for offer in offers:
        rivals = [
            (each.provider == offer.provider, cost) for each, cost in kept if cost is not None
        ]
        own = [cost for same, cost in rivals if same] or [cost for _, cost in rivals]
        found.append(trial.offered(offer, min(own, default=None)))
    return tuple(found)


class _Trial:
    """One plan, priced by one offer after the other."""

    def __init__(self, scenario: Scenario, plan: PlanSpec, step: StepPrediction) -> None:
        self._scenario, self._plan, self._step = scenario, plan, step
        self._size, self._replan = state_bytes(scenario, plan), NewPlans()

    def offered(self, offer: PriceProfile, rival_usd: float | None) -> Offered:
        """Return one offer; `rival_usd` is the least cost by those that are not spot."""
        campaign = self._campaign(_rented(self._scenario, offer))
        assert campaign.cost_usd is not None, "an offer has a price"
        often = None
        if offer.commitment == "spot" and rival_usd is not None:
            often = self._bearable(offer, rival_usd)
        return Offered(
            **offer.model_dump(exclude={"device", "source", "reliability"}),
            calendar_s=campaign.calendar_s,
            cost_usd=campaign.cost_usd,
            meets_goal=self._meets(campaign),
            preemptions_per_node_day=often,
        )

    def kept_cost_usd(self, offer: PriceProfile) -> float | None:
        """Return the cost by an offer; None where it misses the goal."""
        campaign = self._campaign(_rented(self._scenario, offer))
        return campaign.cost_usd if self._meets(campaign) else None

    def _bearable(self, offer: PriceProfile, rival_usd: float) -> float | None:
        """Return how often nodes may be taken away, by bisection of its logarithm."""
        most = MOST_PREEMPTIONS
        least = most / 2.0**_HALVINGS
        if not self._better(offer, least, rival_usd):
            return None
        if self._better(offer, most, rival_usd):
            return most
        for _ in range(_HALVINGS):
            middle = (least * most) ** 0.5
            if self._better(offer, middle, rival_usd):
                least = middle
            else:
                most = middle
        return least

    def _better(self, offer: PriceProfile, per_node_day: float, rival_usd: float) -> bool:
        try:
            campaign = self._campaign(_preempted(self._scenario, offer, per_node_day))
        except NoFeasiblePlan:  # it never finishes
            return False
        assert campaign.cost_usd is not None, "an offer has a price"
        return campaign.cost_usd < rival_usd and self._meets(campaign)

    def _meets(self, campaign: CampaignPrediction) -> bool:
        return meets(self._scenario.goal, Prediction(step=self._step, campaign=campaign))

    def _campaign(self, scenario: Scenario) -> CampaignPrediction:
        return predict_campaign(
            scenario, self._plan, self._step, state_bytes=self._size, replan=self._replan
        )


def _rented(scenario: Scenario, offer: PriceProfile) -> Scenario:
    """Return the scenario by an offer: nodes are taken away where it is spot, and only there."""
    if offer.commitment == "spot":
        return _changed(scenario, offer, scenario.reliability)
    return _changed(scenario, offer, _kept(scenario))


def _preempted(scenario: Scenario, offer: PriceProfile, per_node_day: float) -> Scenario:
    """Return the scenario by a spot offer under which nodes are taken away so often."""
    taken = FailureCause(
        name="preemption-tried",
        component="preemption",
        failures_per_device_day=per_node_day / scenario.cluster.devices_per_node,
        notice_s=NOTICE_S,
        repair_s=AWAY_S,
    )
    kept = _kept(scenario)
    return _changed(scenario, offer, kept.model_copy(update={"causes": (*kept.causes, taken)}))


def _kept(scenario: Scenario) -> ReliabilitySpec:
    """Return the failures of a scenario, other causes as they are, without any preemption."""
    asked = scenario.reliability
    said = outright(asked, find_failure_profile(asked.profile, where="reliability.profile"))
    causes = tuple(
        with_rates(cause, 0.0) if cause.component == "preemption" else cause
        for cause in said.causes
    )
    return said.model_copy(update={"causes": causes})


def _changed(scenario: Scenario, offer: PriceProfile, reliability: ReliabilitySpec) -> Scenario:
    changes = {"economics": scenario.economics.rented_by(offer), "reliability": reliability}
    return scenario.model_copy(update=changes)
