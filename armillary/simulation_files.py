"""The files that `armillary simulate` writes: pictures, tables, a trace, a report."""

from __future__ import annotations

from dataclasses import dataclass, fields
from pathlib import Path

from armillary.simulation import Simulation
from armillary.table_file import write_table
from simulator.spec.errors import InputError
from simulator.spec.files import write_atomic
from simulator.spec.picture import picture_form
from simulator.spec.plan_file import PlanFile


@dataclass(frozen=True, slots=True, kw_only=True)
class SimulationFiles:
    """Where to write what; None writes nothing."""

    trace: Path | None
    timeline: Path | None
    memory: Path | None
    passes: Path | None
    progress: Path | None
    course: Path | None
    table: Path | None
    report: Path | None

    def check(self, *, has_course: bool, own_order: bool) -> None:
        """Raise InputError for what will not be there to write, before anything is computed."""
        if own_order and self.report is not None:
            raise InputError(
                "a report draws the plan's own order of passes", fix="--timeline and --trace"
            )
        if not has_course and (self.progress or self.course or self.table):
            raise InputError(
                "the closed form has no course of events to show", fix="--engine events"
            )

    def write(self, simulation: Simulation, plan_file: PlanFile) -> tuple[Path, ...]:
        """Write the files that are asked for, and return their paths."""
        self._write_step(simulation)
        self._write_campaign(simulation)
        if self.report is not None:
            from armillary.report import Report, write_report

            fresh = plan_file.model_copy(update={"prediction": simulation.prediction})
            write_report(self.report, Report.of(fresh, campaign_run=simulation.first_run))
        places = (getattr(self, field.name) for field in fields(self))
        return tuple(path for path in places if path is not None)

    def _write_step(self, simulation: Simulation) -> None:
        from simulator.schedule import actions_of
        from simulator.step.memory_figure import memory_track_figure
        from simulator.step.predict import traced_memory, traced_step
        from simulator.step.timeline_figure import timeline_figure
        from simulator.step.trace import write_chrome_trace

        if self.passes is not None:
            schedule = simulation.schedule or actions_of(simulation.plan)
            write_atomic(self.passes, schedule.to_csv())
        if not (self.trace or self.timeline or self.memory):
            return
        title = simulation.title
        spans = traced_step(simulation.scenario, simulation.plan, simulation.schedule)
        tracks = traced_memory(simulation.scenario, simulation.plan, spans)
        if self.trace is not None:
            write_chrome_trace(self.trace, spans, title=title, memory=tracks)
        if self.timeline is not None:
            form = picture_form(self.timeline)
            write_atomic(self.timeline, timeline_figure(spans, title=title, form=form))
        if self.memory is not None:
            form = picture_form(self.memory)
            held = simulation.prediction.step.memory_capacity_bytes
            picture = memory_track_figure(tracks, capacity_bytes=held, title=title, form=form)
            write_atomic(self.memory, picture)

    def _write_campaign(self, simulation: Simulation) -> None:
        from simulator.campaign.progress_figure import progress_figure
        from simulator.campaign.replicas import segments_frame

        run, replicas = simulation.first_run, simulation.replicas
        if run is not None and self.progress is not None:
            form = picture_form(self.progress)
            n_steps = simulation.prediction.campaign.n_steps
            picture = progress_figure(run, n_steps=n_steps, title=simulation.title, form=form)
            write_atomic(self.progress, picture)
        if run is not None and self.course is not None:
            write_table(self.course, segments_frame(run))
        if replicas is not None and self.table is not None:
            write_table(self.table, replicas.to_frame())
