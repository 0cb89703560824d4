"""plan.json: the one file that passes from planner to simulator, exporters, runtime and compare."""

from __future__ import annotations

import hashlib
import json
from typing import Annotated, Literal

from pydantic import Field

from simulator.spec.base import Spec
from simulator.spec.plan import PlanSpec
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import Scenario


def inputs_sha256(scenario: Scenario) -> str:
    """Return the hash of a resolved scenario, over its canonical JSON."""
    text = json.dumps(scenario.model_dump(mode="json"), sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(text.encode()).hexdigest()


class Provenance(Spec):
    """Who wrote the file and from what."""

    armillary_version: Annotated[str, Field(pattern=r"^[0-9A-Za-z.+!-]{1,40}$")]
    """It stands in the comments of exported scripts, so it is held to the letters of a version."""
    seed: int
    inputs_sha256: str
    """Hash of the resolved scenario."""


class RankedPlan(Spec):
    """One line of the answer."""

    rank: int
    plan: PlanSpec
    prediction: Prediction
    loses_to: str = ""
    """Why it is behind the plan above it; empty for the best."""


class PlanFile(Spec):
    """A chosen plan with everything needed to understand and run it.

    `plan` and `prediction` are the chosen ones (rank 1 unless the user took another);
    `alternatives` are the ranked finalists, the chosen one included.
    """

    kind: Literal["armillary-plan"] = "armillary-plan"
    version: Literal[1] = 1
    scenario: Scenario
    plan: PlanSpec
    prediction: Prediction
    alternatives: tuple[RankedPlan, ...] = ()
    provenance: Provenance
