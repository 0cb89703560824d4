"""What the numbers of a screen rest on, in words."""

from __future__ import annotations

from simulator.spec.base import Basis

BASIS = {
    Basis.ASSUMED: "all assumed, NOT calibrated",
    Basis.DATASHEET: "datasheet numbers, NOT calibrated",
    Basis.CALIBRATED: "calibrated on published runs",
    Basis.MEASURED: "measured on this cluster",
}
