"""Step and campaign of one plan, joined."""

from __future__ import annotations

from simulator.campaign.checkpoint_size import checkpoint_bytes
from simulator.campaign.closed_form import predict_campaign
from simulator.campaign.decided import decided
from simulator.campaign.setting import CampaignSetting, campaign_setting
from simulator.campaign.shapes import Replanner
from simulator.campaign.spread import MUCH_WAITING, spread_is_unknown, with_spread
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import Prediction, StepPrediction
from simulator.spec.scenario import Scenario
from simulator.step.predict import Engine, predict_step


def predict(
    scenario: Scenario,
    plan: PlanSpec,
    *,
    engine: Engine = "closed-form",
    replan: Replanner | None = None,
) -> Prediction:
    """Predict one step of a plan and, in closed form, the whole training that repeats it.

    `engine` says which clock times the step; `replan` is as in `setting_of`. Intervals are
    simulated where the closed form has none that hold. Raises NoFeasiblePlan where failures leave
    no progress.
    """
    step = predict_step(scenario, plan, engine=engine)
    size = state_bytes(scenario, plan)
    campaign = predict_campaign(scenario, plan, step, state_bytes=size, replan=replan)
    prediction = Prediction(step=step, campaign=campaign)
    return with_known_spread(scenario, plan, prediction)


def with_known_spread(
    scenario: Scenario,
    plan: PlanSpec,
    prediction: Prediction,
    *,
    much_waiting: float = MUCH_WAITING,
) -> Prediction:
    """Return the prediction with simulated intervals where the closed form has none that hold.

    A job that does anything but wait keeps its own: only the events can simulate it.
    """
    step, campaign = prediction.step, prediction.campaign
    waits = decided(scenario, plan).reliability.recovery == "wait"
    if not (waits and spread_is_unknown(campaign, much_waiting=much_waiting)):
        return prediction
    setting = setting_of(scenario, plan, step)
    return Prediction(step=step, campaign=with_spread(setting, campaign))


def setting_of(
    scenario: Scenario, plan: PlanSpec, step: StepPrediction, *, replan: Replanner | None = None
) -> CampaignSetting:
    """Return the campaign of a plan, ready to be simulated by events.

    `replan` finds the best plan for fewer nodes, where the recovery asks for it.
    """
    size = state_bytes(scenario, plan)
    return campaign_setting(scenario, plan, step, state_bytes=size, replan=replan)


def state_bytes(scenario: Scenario, plan: PlanSpec) -> float:
    """Size of a checkpoint."""
    job = scenario.job.model_copy(update={"precision": plan.precision})
    return checkpoint_bytes(scenario.model, job)
