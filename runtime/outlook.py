"""What is predicted of a run itself: its steps, its start and what was injected into it.

The plan's own prediction is of the whole training; a run does some steps of it on a machine whose
calibration says how long ranks take to start.
"""

from __future__ import annotations

from runtime.blows import blow_of
from simulator.campaign.predict import setting_of
from simulator.campaign.replicas import run_replicas, summarize
from simulator.spec.plan_file import PlanFile
from simulator.spec.prediction import CampaignPrediction
from simulator.spec.reliability import Outage


def outlook(plan_file: PlanFile, outages: tuple[Outage, ...]) -> CampaignPrediction:
    """Return what is predicted of a run: goodput is the share of its time that its steps take.

    That of the whole training where it was not measured how long ranks take to start. What only
    slows or hinders a run is not among the outages of the campaign.
    """
    scenario, plan, step = plan_file.scenario, plan_file.plan, plan_file.prediction.step
    calibration = scenario.cluster.calibration
    if calibration is None or not calibration.start_s:
        return plan_file.prediction.campaign
    n_steps, every = scenario.run.steps, scenario.run.checkpoint_every_steps
    recovery = plan.recovery or scenario.reliability.recovery
    reliability = scenario.reliability.model_copy(
        update={
            "profile": "none",
            "restart": None,
            "restart_s": calibration.start_s,
            "replay": tuple(each for each in outages if blow_of(each.cause).stops),
            # What the planner would find is not known here; the same plan on less is near it.
            "recovery": "shrink" if recovery == "replan" else recovery,
        }
    )
    job = scenario.job.model_copy(update={"tokens": n_steps * scenario.job.batch_tokens})
    run = scenario.model_copy(update={"job": job, "reliability": reliability})
    saving = plan.model_copy(
        update={"checkpoint_interval_s": (every or n_steps) * step.fed_step_s, "recovery": None}
    )
    setting = setting_of(run, saving, step)
    return summarize(setting, run_replicas(setting, n_replicas=1, jobs=1))
