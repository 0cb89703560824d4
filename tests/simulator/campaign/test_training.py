"""Changes of speed between, during and after saves."""

import pytest

from simulator.campaign.ledger import Ledger
from simulator.campaign.losses import Loss
from simulator.campaign.training import Training
from simulator.spec.reliability import FailureCause
from tests.simulator.campaign.settings import setting_of

ANY = FailureCause(name="any", failures_per_device_day=1e-3)


def training_of() -> tuple[Training, Ledger]:
    """Steps of 10 s on 128 nodes; a save every 10 of them stops for 40 s and is safe at once."""
    store = {
        "name": "store",
        "survives": "region",
        "shared": True,
        "write_bandwidth_bytes_per_s": 5.67e12 / 40,
        "blocking": True,
        "interval_s": 100.0,
    }
    setting = setting_of(
        n_devices=1024, days=1, step_s=10.0, checkpoint_stall_s=0.0, checkpoint_tiers=[store]
    )
    ledger = Ledger()
    training = Training(setting, ledger)
    training.start(0.0, setting.full, 128 * 10.0, share=1.0, slowness=1.0)
    return training, ledger


def test_a_change_of_speed_does_not_shorten_a_save() -> None:
    training, ledger = training_of()
    training.set_share(50.0, 0.5)  # 5 steps, and 5 more take 100 s: it saves from 150 to 190
    training.set_share(160.0, 1.0)
    training.reach(165.0)
    assert training.progress == 10
    training.reach(200.0)
    assert training.progress == pytest.approx(11)
    training.stop(200.0, finished=False)
    assert ledger.productive == pytest.approx(11 * 1280)
    assert ledger.losses[Loss.CHECKPOINT_STALL] == pytest.approx(64 * 40)
    assert ledger.losses[Loss.RESTART] == pytest.approx(64 * 140)
    assert ledger.total == pytest.approx(128 * 200)


@pytest.mark.parametrize(("stopped_s", "safe"), [(189.0, 0.0), (190.0, 10.0), (195.0, 10.0)])
def test_a_save_is_safe_when_it_is_over_whatever_changed_meanwhile(
    stopped_s: float, safe: float
) -> None:
    training, ledger = training_of()
    training.set_share(50.0, 0.5)
    training.set_share(160.0, 1.0)
    training.stop(stopped_s, finished=False)
    assert training.safe.restore(ANY, training.progress)[0] == safe
    assert ledger.total == pytest.approx(128 * stopped_s)


def test_the_end_is_never_later_than_said() -> None:
    training, _ = training_of()
    alone_s = training.end_s
    training.set_share(100.0, 0.5)
    assert training.end_s == alone_s
    training.reach(100.0)
    assert training.end_s > alone_s
    training.set_slowness(200.0, 2.0)
    slow_s = training.end_s
    training.set_slowness(200.0, 1.0)
    assert training.end_s < slow_s
