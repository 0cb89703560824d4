"""Step and campaign of one plan, joined."""

from __future__ import annotations

from simulator.campaign.checkpoint_size import state_bytes_per_parameter
from simulator.campaign.closed_form import predict_campaign
from simulator.cost.parameters import count_parameters
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import Scenario
from simulator.step.predict import Engine, predict_step


def predict(scenario: Scenario, plan: PlanSpec, *, engine: Engine = "closed-form") -> Prediction:
    """Predict one step of a plan and the whole training that repeats it.

    `engine` says which clock times the step. Raises NoFeasiblePlan where failures leave no
    progress.
    """
    step = predict_step(scenario, plan, engine=engine)
    job = scenario.job.model_copy(update={"precision": plan.precision})
    state_bytes = count_parameters(scenario.model).total * state_bytes_per_parameter(job)
    campaign = predict_campaign(scenario, plan, step, state_bytes=state_bytes)
    return Prediction(step=step, campaign=campaign)
