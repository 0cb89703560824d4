"""The picture of a campaign: its progress over time, what stopped it, and where the time went."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from simulator.campaign.campaign_run import CampaignRun
from simulator.campaign.losses import Loss
from simulator.spec.colours import BLUE, GREEN, ORANGE, PURPLE, SKY_BLUE, VERMILION, YELLOW
from simulator.spec.picture import PictureForm, picture
from simulator.spec.units import DAY_S

if TYPE_CHECKING:
    from matplotlib.axes import Axes

MAX_CAUSES = 6
"""More causes than this are drawn as one."""
MAX_TICKS = 5000
"""More failures than this are drawn as pixels, also in an SVG file."""

FILLS: dict[Loss, str] = {
    Loss.INITIALISATION: "#999999",
    Loss.RESTART: ORANGE,
    Loss.LOST_WORK: VERMILION,
    Loss.CHECKPOINT_STALL: BLUE,
    Loss.WAITING_FOR_SPARES: PURPLE,
    Loss.DEGRADED_SPEED: YELLOW,
    Loss.INPUT_STALL: GREEN,
    Loss.PLANNED_MAINTENANCE: SKY_BLUE,
    Loss.IDLE: "#dddddd",
}
_LINES = (VERMILION, BLUE, GREEN, PURPLE, ORANGE, SKY_BLUE, "#999999")


def progress_figure(
    run: CampaignRun, *, n_steps: int, title: str, form: PictureForm = "svg"
) -> bytes:
    """Return the picture of one recorded replica as an SVG or PNG file."""
    from matplotlib.figure import Figure

    figure = Figure(figsize=(9, 5), layout="constrained")
    progress, causes, losses = figure.subplots(3, 1, gridspec_kw={"height_ratios": [3, 1.4, 0.5]})
    _draw_progress(progress, run, n_steps)
    causes.sharex(progress)
    _draw_causes(causes, run)
    _draw_losses(losses, run)
    figure.suptitle(title, fontsize=10)
    return picture(figure, form)


def _draw_progress(axes: Axes, run: CampaignRun, n_steps: int) -> None:
    """Draw steps done over time beside what they would be if nothing ever failed."""
    times, steps = [0.0], [0.0]
    for segment in run.segments:
        times += [segment.start_s / DAY_S, segment.end_s / DAY_S]
        steps += [100 * segment.start_step / n_steps, 100 * segment.end_step / n_steps]
    days = run.calendar_s / DAY_S
    axes.plot([0, days * run.goodput], [0, 100], color="#bbbbbb", linestyle="--", linewidth=1)
    many = len(run.segments) > MAX_TICKS
    axes.plot(times, steps, color="black", linewidth=1, rasterized=many)
    axes.set_ylabel("steps done (%)")
    axes.set_xlim(0, days)
    axes.set_ylim(0, 102)
    axes.text(
        0.99,
        0.05,
        f"goodput {run.goodput:.1%}, {_counted(run)}, {days:.1f} days (dashed: no losses)",
        transform=axes.transAxes,
        fontsize=8,
        ha="right",
    )
    axes.tick_params(labelbottom=False)


def _counted(run: CampaignRun) -> str:
    """Say how many failures there were, and how many of them the rest of the job survived."""
    apart = sum(strike.apart for strike in run.strikes)
    survived = f", of which {apart:,} stopped only a group" if apart else ""
    return f"{run.failures.total():,} failures{survived}"


def _draw_causes(axes: Axes, run: CampaignRun) -> None:
    """Draw a tick per failure, a row per cause."""
    struck: dict[str, list[float]] = {}
    common = [name for name, _ in run.failures.most_common(MAX_CAUSES)]
    for strike in run.strikes:
        name = strike.cause if strike.cause in common else "other causes"
        struck.setdefault(name, []).append(strike.time_s / DAY_S)
    names = [name for name in (*common, "other causes") if name in struck]
    axes.eventplot(
        [struck[name] for name in names] or [[]],
        lineoffsets=range(len(names)) if names else 1,
        linelengths=0.7,
        linewidths=0.6,
        colors=[_LINES[at % len(_LINES)] for at in range(len(names))] or None,
        rasterized=len(run.strikes) > MAX_TICKS,
    )
    axes.set_yticks(range(len(names)), [f"{n} ({len(struck[n]):,})" for n in names], fontsize=7)
    axes.invert_yaxis()
    axes.set_xlabel("days")


def _draw_losses(axes: Axes, run: CampaignRun) -> None:
    """Draw where the paid time went that was no progress, to one scale."""
    shares = Counter({loss: node_s / run.paid_node_s for loss, node_s in run.losses_node_s.items()})
    left = 0.0
    for loss, share in shares.most_common():
        if share >= 0.0005:
            label = f"{loss.value.replace('_', ' ')} {share:.1%}"
            axes.barh(0, 100 * share, left=100 * left, color=FILLS[loss], label=label)
            left += share
    axes.set_yticks([])
    axes.set_xlabel("lost (% of paid device time)")
    if left > 0:
        axes.legend(fontsize=7, ncols=5, loc="upper center", bbox_to_anchor=(0.5, -1.1))
