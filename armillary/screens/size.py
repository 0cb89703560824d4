"""What `armillary size` prints: the counts that do, and what each is best at."""

from __future__ import annotations

from armillary.screens.size_site import offer_lines, site_lines
from armillary.screens.table import text_table
from armillary.screens.wrapping import wrapped
from planner.size import SizeOption, Sizing
from simulator.spec.units import (
    format_energy,
    format_probability,
    format_range,
    format_seconds,
    format_usd,
)

MOST_TRADE_OFFS = 1
"""Trade-offs that are shown between those that are best at something."""


def size_screen(sizing: Sizing, best: SizeOption, *, question: str) -> str:
    """Return the screen: what is best at something, trade-offs, and the smallest of every kind.

    `best` is the one to plan on, of which is said what it needs.
    """
    header = ["devices", "", "paid", "time", "cost", "energy", "goodput", "least"]
    shown = _worth_showing(sizing)
    rows = [_row(sizing, option) for option in shown]
    lines = [*wrapped(question), "", *text_table(header, rows)]
    hidden = len(sizing.options) - len(shown)
    lines += (
        [f"({hidden} more do: trade-offs between these, or beaten by them; --json)"]
        if hidden
        else []
    )
    lines.append("plans, and between which values 90 % lies; time: the least of those shown")
    for option in dict.fromkeys(option for _, option in _winners(sizing)):
        lines.append(f"  {option.n_devices:,} x {option.device}: {option.plan.label()}")
        lines += wrapped(_uncertainty(option), first="    ", rest="    ")
    lines += site_lines(best) + offer_lines(sizing, best)
    if sizing.without_answer:
        lines.append(f"no number does: {', '.join(sizing.without_answer)}")
    return "\n".join(lines)


def _uncertainty(option: SizeOption) -> str:
    """Say between which values 90 % of what may come lies, and how likely it is what was asked."""
    summary, odds = option.prediction, option.odds
    ranges = [format_range(*summary.interval_calendar_s, format_seconds)]
    if summary.interval_cost_usd is not None:
        ranges.append(format_range(*summary.interval_cost_usd, format_usd))
    likely = {"in time": odds.deadline, "within the budget": odds.budget}
    words = [f"{what} {format_probability(p)}" for what, p in likely.items() if p is not None]
    words.append(f"fits {format_probability(1 - summary.misfit_probability)}")
    odds_in_words = ", ".join(words).replace(" %", "%")
    return f"{', '.join(ranges)}; odds: {odds_in_words}"


def _winners(sizing: Sizing) -> list[tuple[str, SizeOption]]:
    named = (
        ("number", sizing.fewest),
        ("cost", sizing.cheapest),
        ("energy", sizing.greenest),
        ("time", sizing.fastest),
    )
    return [(name, option) for name, option in named if option is not None]


def _worth_showing(sizing: Sizing) -> list[SizeOption]:
    """Return the best at something, the smallest of every kind, and some trade-offs between."""
    smallest: dict[str, SizeOption] = {}
    for option in sizing.options:
        smallest.setdefault(option.device, option)
    first = [option for _, option in _winners(sizing)] + list(smallest.values())
    between = [option for option in sizing.front if option not in first]
    some = between[:: max(1, -(-len(between) // MOST_TRADE_OFFS))]
    return [option for option in sizing.options if option in first or option in some]


def _row(sizing: Sizing, option: SizeOption) -> list[str]:
    summary = option.prediction
    least = [name for name, winner in _winners(sizing) if winner == option]
    if not least and option in sizing.front:
        least = ["(trade-off)"]
    return [
        option.device,
        f"{option.n_devices:,}",
        f"{option.paid_devices:,.0f}",
        format_seconds(summary.calendar_s),
        "-" if summary.cost_usd is None else format_usd(summary.cost_usd).replace(" ", ""),
        "-" if summary.energy_j is None else format_energy(summary.energy_j),
        f"{100 * summary.goodput:.1f}%",
        ", ".join(least),
    ]
