"""Our tables against the order in which torch.distributed.pipelining's own classes work."""

from itertools import pairwise
from types import SimpleNamespace
from typing import Any

import pytest
from torch.distributed.pipelining import schedules as torch_schedules

from simulator.schedule import Schedule, make_schedule

SINGLE: dict[str, Any] = {
    "gpipe": torch_schedules.ScheduleGPipe,
    "1f1b": torch_schedules.Schedule1F1B,
}


class RecordingStage:
    """Stands in for a pipeline stage and notes what it is told to do.

    `Schedule1F1B._get_pipeline_order` is not asked: torch 2.13 numbers the last rank's forwards
    from 1 there. What it executes is right.
    """

    def __init__(self, rank: int) -> None:
        self.stage_index = rank
        self.cells: list[str] = []

    def no_transfers(self, _microbatch: int) -> list[object]:
        return []

    get_fwd_recv_ops = get_fwd_send_ops = get_bwd_recv_ops = get_bwd_send_ops = no_transfers

    def forward_one_chunk(self, microbatch: int, *_args: object, **_options: object) -> None:
        self.cells.append(f"{self.stage_index}F{microbatch}")

    def backward_one_chunk(self, microbatch: int, **_options: object) -> None:
        self.cells.append(f"{self.stage_index}B{microbatch}")

    def perform_reduce_grad(self, _scale: int) -> None:
        pass


def executed_by_torch(name: str, pp: int, n_microbatches: int) -> list[list[str]]:
    rows = []
    for rank in range(pp):
        schedule = object.__new__(SINGLE[name])
        schedule._stage, schedule._num_stages = RecordingStage(rank), pp
        schedule._n_microbatches, schedule.scale_grads = n_microbatches, True
        nothing = [()] * n_microbatches
        schedule._check_inputs = lambda *_args, nothing=nothing: (nothing, nothing)
        for quiet in ("_initialize_stage", "_maybe_compute_loss", "_maybe_get_loss"):
            setattr(schedule, quiet, lambda *_args: None)
        schedule._update_losses = lambda *_args: None
        schedule._step_microbatches()
        rows.append(schedule._stage.cells)
    return rows


MULTI: dict[str, Any] = {
    "interleaved-1f1b": torch_schedules.ScheduleInterleaved1F1B,
    "zero-bubble": torch_schedules.ScheduleInterleavedZeroBubble,
    "looped-bfs": torch_schedules.ScheduleLoopedBFS,
    "zb-v": torch_schedules.ScheduleZBVZeroBubble,
    "dualpipe-v": torch_schedules.ScheduleDualPipeV,
}


def ordered_by_torch(
    name: str, pp: int, virtual_stages: int, n_microbatches: int
) -> dict[int, list[Any]]:
    rounds = max(1, n_microbatches // pp)
    shape: Any = SimpleNamespace(
        _stages=[None] * virtual_stages,
        n_local_stages=virtual_stages,
        num_stages=virtual_stages * pp,
        pp_group_size=pp,
        microbatches_per_round=n_microbatches // rounds,
        _n_microbatches=n_microbatches,
    )
    order = MULTI[name]._calculate_single_rank_operations
    return {rank: order(shape, rank) for rank in range(pp)}


def compute_cells(order: dict[int, list[Any]]) -> list[list[str]]:
    """Passes by rank; pairs that torch may overlap one after the other, as it runs them."""
    return [
        [
            str(each)
            for action in row
            if action is not None and action.is_compute_op
            for each in (action.sub_actions or (action,))
        ]
        for _, row in sorted(order.items())
    ]


def cells(schedule: Schedule) -> list[list[str]]:
    return [line.split(",") for line in schedule.to_csv().splitlines()]


@pytest.mark.parametrize("name", SINGLE)
@pytest.mark.parametrize("pp", [1, 2, 3, 4, 8, 16])
@pytest.mark.parametrize("extra", [0, 1, 5, 32])
def test_single_chunk_schedules_follow_torch(name: str, pp: int, extra: int) -> None:
    n_microbatches = pp + extra
    ours = make_schedule(name, pp, 1, n_microbatches)
    assert cells(ours) == executed_by_torch(name, pp, n_microbatches)


@pytest.mark.parametrize("name", ["interleaved-1f1b", "zero-bubble", "looped-bfs"])
@pytest.mark.parametrize("pp", [1, 2, 3, 4, 8])
@pytest.mark.parametrize("virtual_stages", [1, 2, 3, 7])
@pytest.mark.parametrize("rounds", [1, 2, 5])
def test_looped_schedules_follow_torch(
    name: str, pp: int, virtual_stages: int, rounds: int
) -> None:
    sizes = (name, pp, virtual_stages, pp * rounds)
    assert cells(make_schedule(*sizes)) == compute_cells(ordered_by_torch(*sizes))


@pytest.mark.parametrize("name", ["interleaved-1f1b", "zero-bubble"])
@pytest.mark.parametrize(("pp", "n_microbatches"), [(4, 10), (4, 3), (3, 4), (8, 2)])
def test_looped_schedules_follow_torch_where_rounds_are_not_pp(
    name: str, pp: int, n_microbatches: int
) -> None:
    sizes = (name, pp, 2, n_microbatches)
    assert cells(make_schedule(*sizes)) == compute_cells(ordered_by_torch(*sizes))


@pytest.mark.parametrize("name", ["zb-v", "dualpipe-v"])
@pytest.mark.parametrize("pp", [1, 2, 3, 4, 5, 8])
@pytest.mark.parametrize("extra", [0, 1, 4, 13])
def test_v_schedules_follow_torch(name: str, pp: int, extra: int) -> None:
    sizes = (name, pp, 2, 2 * pp + extra)
    assert cells(make_schedule(*sizes)) == compute_cells(ordered_by_torch(*sizes))


@pytest.mark.parametrize("n_microbatches", [1, 2, 5, 7])
def test_zb_v_follows_torch_with_few_microbatches(n_microbatches: int) -> None:
    sizes = ("zb-v", 4, 2, n_microbatches)
    assert cells(make_schedule(*sizes)) == compute_cells(ordered_by_torch(*sizes))


@pytest.mark.parametrize(
    ("name", "pp", "virtual_stages", "n_microbatches"),
    [
        ("gpipe", 4, 1, 6),
        ("1f1b", 4, 1, 9),
        ("1f1b", 8, 1, 3),
        ("interleaved-1f1b", 2, 2, 4),
        ("interleaved-1f1b", 4, 3, 8),
        ("zero-bubble", 4, 2, 8),
        ("looped-bfs", 3, 2, 5),
        ("zb-v", 4, 2, 8),
        ("dualpipe-v", 4, 2, 9),
    ],
)
def test_torch_lowers_our_csv(name: str, pp: int, virtual_stages: int, n_microbatches: int) -> None:
    """torch's own reader, validator and send/receive insertion accept the table."""
    schedule = make_schedule(name, pp, virtual_stages, n_microbatches)
    actions = {
        rank: [torch_schedules._Action.from_str(cell) for cell in row]
        for rank, row in enumerate(cells(schedule))
    }
    places = torch_schedules._validate_schedule(actions, pp, schedule.n_chunks, n_microbatches)
    assert tuple(places[chunk] for chunk in range(schedule.n_chunks)) == schedule.rank_of_chunk()
    lowered = torch_schedules._add_send_recv(actions, places.__getitem__, schedule.n_chunks)
    sends = [action for row in lowered.values() for action in row if "SEND" in str(action)]
    ranks = schedule.rank_of_chunk()
    crossing = sum(here != there for here, there in pairwise(ranks))
    assert len(sends) == 2 * crossing * n_microbatches
