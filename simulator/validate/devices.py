"""Which device of the catalog a table means: people write one name in many ways."""

from __future__ import annotations

import re

from simulator.catalog import find_device
from simulator.spec.cluster import DeviceSpec
from simulator.spec.errors import InputError

SPELLINGS = (
    (r"a100.*pcie.*80|a100.*80.*pcie", "a100-pcie-80gb"),
    (r"a100.*pcie", "a100-pcie-40gb"),
    (r"a100.*40", "a100-sxm-40gb"),
    (r"a100", "a100-sxm-80gb"),
    (r"a800", "a800-sxm-80gb"),
    (r"h100.*500 ?w|h100.*96", "h100-96gb-hbm2e-500w"),
    (r"h100.*nvl", "h100-nvl-94gb"),
    (r"h100.*pcie", "h100-pcie-80gb"),
    (r"h100", "h100-sxm-80gb"),
    (r"h800", "h800-sxm-80gb"),
    (r"gh200", "gh200-96gb"),
    (r"h200", "h200-sxm-141gb"),
    (r"h20", "h20-sxm-96gb"),
    (r"gb200", "gb200-nvl72"),
    (r"gb300", "gb300-nvl72"),
    (r"b200.*limit", "b200-sxm-180gb-power-limited"),
    (r"b200", "b200-sxm-180gb"),
    (r"b300", "b300-sxm-288gb"),
    (r"v100.*16", "v100-sxm2-16gb"),
    (r"v100", "v100-sxm2-32gb"),
    (r"l40", "l40s"),
    (r"a6000", "rtx-a6000"),
    (r"4090", "rtx-4090"),
    (r"3090", "rtx-3090"),
    (r"a10g?\b", "a10g"),
    (r"a40\b", "a40"),
    (r"mi-?250", "mi250x"),
    (r"mi-?300", "mi300x"),
    (r"mi-?325", "mi325x"),
    (r"mi-?350", "mi350x"),
    (r"mi-?355", "mi355x"),
    (r"(tpu.?)?v3", "tpu-v3"),
    (r"(tpu.?)?v4", "tpu-v4"),
    (r"(tpu.?)?v5p", "tpu-v5p"),
    (r"(tpu.?)?v5(e|-?lite)", "tpu-v5e"),
    (r"(tpu.?)?v6|trillium", "tpu-v6e"),
    (r"(tpu.?)?v7|ironwood", "tpu-v7"),
    (r"tr(ai)?n(ium)?.?1", "trainium1"),
    (r"tr(ai)?n(ium)?.?2", "trainium2"),
    (r"gaudi.?2", "gaudi2"),
    (r"gaudi.?3", "gaudi3"),
)
"""What a name holds, and the device it means; first match wins."""


def device_of(text: str) -> DeviceSpec:
    """Return the device by its name in the catalog or as tables spell it. Raises InputError."""
    try:
        return find_device(text)
    except InputError:
        for pattern, name in SPELLINGS:
            if re.search(pattern, text.lower()):
                return find_device(name)
        raise
