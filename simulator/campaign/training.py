"""How far a job has trained: progress in steps, and where the time of training goes.

Changes of speed are only noted when they happen. What they did to the progress is worked out when
somebody asks: steps and saves between two changes are arithmetic (`saves`).
"""

from __future__ import annotations

from simulator.campaign.ledger import Ledger
from simulator.campaign.losses import Loss
from simulator.campaign.safe_points import SafePoints
from simulator.campaign.setting import CampaignSetting
from simulator.campaign.shapes import Shape


class Training:
    """The progress of one job, and where its node-seconds went since it started to train last."""

    def __init__(self, setting: CampaignSetting, ledger: Ledger) -> None:
        self._saves = setting.saves
        self._n_steps = setting.terms.n_steps
        self._input_stall_s = setting.input_stall_s
        self._ledger = ledger
        self.safe = SafePoints(setting.saves)
        self.progress = 0.0
        self.end_s = 0.0
        """When the last step is done; no later than that if the share has changed since `reach`."""
        self._reached_s = 0.0
        """When progress was what it is; later than now while a save stops it."""
        self._soonest_s = 0.0
        """When the last step is done at full speed."""
        self._shape = setting.full
        self._worth_node_s = 0.0
        self._slowness = 1.0
        """Step time over that of healthy devices."""
        self._share = 1.0
        """Of the nodes, that train."""
        self._changes: list[tuple[float, float]] = []
        """Times since `reach` at which the share changed, and what it became."""
        self._first = 0.0
        """Progress when it began to train."""
        self._longer = self._stalled = self._starved = self._down = 0.0

    def start(
        self, now_s: float, shape: Shape, worth_node_s: float, *, share: float, slowness: float
    ) -> None:
        """Begin to train in a shape, in which a step is worth so many node-seconds."""
        self._shape, self._worth_node_s = shape, worth_node_s
        self._share, self._slowness = share, slowness
        self._reached_s = now_s
        self._first = self.progress
        self._longer = self._stalled = self._starved = self._down = 0.0
        self._look_ahead()

    def set_share(self, now_s: float, share: float) -> None:
        """Train on with a share of the nodes: groups of them have stopped or run again."""
        self._changes.append((now_s, share))
        self.end_s = self._soonest_s

    def set_slowness(self, now_s: float, slowness: float) -> None:
        """Train on with devices and links that make a step so many times longer."""
        self.reach(now_s)
        self._slowness = slowness
        self._look_ahead()

    def reach(self, now_s: float) -> None:
        """Work out how far it is now; a save under way is finished, whatever the speed is then."""
        share, progress, reached_s = self._share, self.progress, self._reached_s
        healthy_s, all_nodes = self._shape.step_s * self._slowness, self._shape.n_nodes
        saves, pass_by = self._saves, self.safe.pass_by
        stalled = down = starved = 0.0
        save = saves.next_save(progress)
        self._changes.append((now_s, share))
        for until_s, next_share in self._changes:
            elapsed_s = until_s - reached_s
            if elapsed_s > 0:
                step_s = healthy_s / share
                if (save - progress) * step_s > elapsed_s:
                    steps = elapsed_s / step_s
                else:
                    far, elapsed_s = saves.advance(progress, elapsed_s, step_s)
                    pass_by(progress, far, reached_s, step_s)
                    save, steps = saves.next_save(far), far - progress
                    stalled += share * (elapsed_s - steps * step_s)
                progress += steps
                reached_s += elapsed_s
                down += (1 - share) * elapsed_s
                starved += share * steps
            last, share = share, next_share
        self._changes.clear()
        self._stalled += all_nodes * stalled
        self._down += all_nodes * down
        self._starved += all_nodes * starved * self._input_stall_s
        self._longer += (progress - self.progress) * (all_nodes * healthy_s - self._worth_node_s)
        self._share, self.progress, self._reached_s = last, progress, reached_s
        self._look_ahead()

    def _look_ahead(self) -> None:
        steps_left = self._n_steps - self.progress
        healthy_s = steps_left * self._shape.step_s * self._slowness
        stalls_s = self._saves.wall_s(self.progress, self._n_steps, 0.0)
        self._soonest_s = self._reached_s + healthy_s + stalls_s
        self.end_s = self._reached_s + healthy_s / self._share + stalls_s

    def stop(self, now_s: float, *, finished: bool) -> None:
        """Stop training, after the last step or for something else, and book the time."""
        self.reach(now_s)
        if finished:
            self.progress = float(self._n_steps)
        self.safe.settle(now_s)
        under_way_s = self._reached_s - now_s  # of a save, which has been counted as finished
        self._stalled -= self._shape.n_nodes * self._share * under_way_s
        self._down -= self._shape.n_nodes * (1 - self._share) * under_way_s
        losses = self._ledger.losses
        self._ledger.productive += (self.progress - self._first) * self._worth_node_s
        losses[Loss.CHECKPOINT_STALL] += max(0.0, self._stalled)
        losses[Loss.INPUT_STALL] += self._starved
        losses[Loss.DEGRADED_SPEED] += max(0.0, self._longer - self._starved)
        losses[Loss.RESTART] += max(0.0, self._down)

    def go_back(self, step: float) -> None:
        """Undo the work after a step."""
        self._ledger.undo((self.progress - step) * self._worth_node_s)
        self.progress = step
