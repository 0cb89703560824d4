"""Whether a file is valid: its fields, its names, and for a plan whether it can be run."""

from __future__ import annotations

from pathlib import Path

from simulator.campaign.causes import resolve_causes
from simulator.campaign.checkpoint_size import checkpoint_bytes
from simulator.campaign.rhythm import require_room
from simulator.catalog import find_failure_profile
from simulator.catalog.plan_json import read_plan_file
from simulator.catalog.scenario_file import load_scenario
from simulator.spec.base import Spec
from simulator.spec.errors import InputError, all_of
from simulator.spec.legality import violations
from simulator.spec.plan import PlanSpec
from simulator.spec.scenario import Scenario
from simulator.spec.target import find_target


class Checked(Spec):
    """What a valid file holds."""

    scenario: Scenario
    plan: PlanSpec | None = None
    """None where it is a scenario file."""


def check(file: Path, *, overrides: tuple[str, ...] = ()) -> Checked:
    """Return the scenario of a file, and the plan where it is a plan file (`.json`).

    Raises one InputError that lists every mistake.
    """
    if file.suffix != ".json":
        scenario = load_scenario(file, overrides=overrides)
        _require_campaign(scenario)
        return Checked(scenario=scenario)
    if overrides:
        raise InputError(
            "--set changes scenarios, not plans", fix="plan again with the changed scenario"
        )
    plan_file = read_plan_file(file)
    scenario, plan = plan_file.scenario, plan_file.plan
    mistakes = [
        InputError(f"plan.{broken.field}: {broken.message}", where=str(file))
        for broken in violations(
            scenario.model, scenario.job, plan, n_devices=scenario.cluster.n_devices
        )
    ]
    if scenario.target is not None:
        refusal = find_target(scenario.target).refusal(scenario.model, scenario.job, plan)
        if refusal is not None:
            mistakes.append(InputError(f"plan: {refusal}", where=str(file)))
    if mistakes:
        raise all_of(mistakes)
    return Checked(scenario=scenario, plan=plan)


def _require_campaign(scenario: Scenario) -> None:
    """Raise InputError for causes of failure and checkpoints that no campaign can have."""
    asked = scenario.reliability
    resolve_causes(asked, find_failure_profile(asked.profile))
    size = checkpoint_bytes(scenario.model, scenario.job)
    require_room(asked.checkpoint_tiers, size, scenario.cluster.n_nodes)
