"""Why a plan is behind another: the part of the step, or of the campaign, that costs it most."""

from __future__ import annotations

from simulator.spec.plan_file import RankedPlan
from simulator.spec.prediction import CampaignPrediction, StepPrediction
from simulator.spec.units import format_bytes

SMALLEST_SHARE = 0.001
"""Parts that add less than this share of a step are no reason."""

PART_NAMES = {
    "forward": "forward compute",
    "backward": "backward compute",
    "recompute": "recompute",
    "tp": "tensor-parallel traffic",
    "cp": "context-parallel traffic",
    "ep": "expert traffic",
    "pp": "pipeline transfers",
    "dp": "data-parallel traffic",
    "bubble": "pipeline bubble",
    "optimizer": "optimizer",
    "input": "waiting for data",
    "other": "jitter and scale",
}


def added_shares(plan: StepPrediction, better: StepPrediction) -> list[tuple[str, float]]:
    """Return what each part adds to the better plan's step, as a share of it, largest first."""
    shares = [
        (name, (seconds - base) / better.step_s)
        for (name, seconds), (_, base) in zip(
            plan.breakdown.parts(), better.breakdown.parts(), strict=True
        )
    ]
    return sorted(shares, key=lambda share: -share[1])


def grown_losses(plan: CampaignPrediction, better: CampaignPrediction) -> list[tuple[str, float]]:
    """Return by how much each loss lengthens the better plan's training, largest first."""
    names = {**better.losses, **plan.losses}
    grown = [
        (
            name.replace("_", " "),
            plan.losses.get(name, 0.0) / plan.goodput
            - better.losses.get(name, 0.0) / better.goodput,
        )
        for name in names
    ]
    return sorted(
        ((name, more * better.goodput) for name, more in grown), key=lambda loss: -loss[1]
    )


def loses_to(plan: RankedPlan, best: RankedPlan) -> str:
    """Say how much longer a plan takes, and why: '3.3 % longer: pipeline bubble +4.6 %'.

    The reason is the part that grew most; others may have shrunk, so it may exceed the whole.
    """
    mine, theirs = plan.prediction.campaign, best.prediction.campaign
    longer, reason = mine.calendar_s / theirs.calendar_s - 1, _reason(plan, best)
    return f"{100 * longer:.1f} % longer: {reason}" if longer >= SMALLEST_SHARE / 2 else reason


def _reason(plan: RankedPlan, best: RankedPlan) -> str:
    mine, theirs = plan.prediction, best.prediction
    losses = grown_losses(mine.campaign, theirs.campaign)
    if losses and losses[0][1] > max(SMALLEST_SHARE, mine.step.step_s / theirs.step.step_s - 1):
        return f"{losses[0][0]} +{100 * losses[0][1]:.1f} %"
    name, share = added_shares(mine.step, theirs.step)[0]
    if mine.step.step_s > theirs.step.step_s and share >= SMALLEST_SHARE:
        return f"{PART_NAMES[name]} +{100 * share:.1f} %"
    energy_j, least_j = mine.campaign.energy_j, theirs.campaign.energy_j
    if energy_j and least_j and energy_j > least_j * (1 + SMALLEST_SHARE):
        return f"energy +{100 * (energy_j / least_j - 1):.1f} %"
    missing = theirs.step.memory_margin_bytes - mine.step.memory_margin_bytes
    return f"as good, {format_bytes(missing)} less memory free" if missing > 0 else "as good"
