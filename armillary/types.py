"""The types that the functions of `armillary` take and return, to annotate with."""

from armillary.answers import RunAnswer
from armillary.checking import Checked
from armillary.choice import Place
from armillary.listings import Listed
from armillary.simulation import Simulation
from planner.explain import Explanation
from planner.export import Export
from planner.imports import Imported
from planner.result import SearchResult
from planner.size import Sizing
from planner.whatif import WhatIf
from runtime.compare import Comparison
from simulator.spec.cluster import ClusterSpec
from simulator.spec.plan_file import PlanFile
from simulator.spec.prediction import Prediction
from simulator.spec.scenario import Scenario
from simulator.validate import Validation

__all__ = [
    "Checked",
    "ClusterSpec",
    "Comparison",
    "Explanation",
    "Export",
    "Imported",
    "Listed",
    "Place",
    "PlanFile",
    "Prediction",
    "RunAnswer",
    "Scenario",
    "SearchResult",
    "Simulation",
    "Sizing",
    "Validation",
    "WhatIf",
]
