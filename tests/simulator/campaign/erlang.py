"""How long a job with spares waits for nodes in repair, by Erlang's loss formula.

References
----------
A. K. Erlang's formulas as in L. Kleinrock, "Queueing Systems I" (1975), sections 3.5 and 3.7;
insensitivity: B. A. Sevastyanov, Theory of Probability 2 (1957).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from scipy.special import gammaincc, gammaln, xlogy

from simulator.cost.plan_table import FloatArray


def waiting_share(repairs: npt.ArrayLike, n_spares: npt.ArrayLike) -> FloatArray:
    """Share of time that a job waits for a node, when nothing fails while it waits.

    One more node than there are spares is down then: Erlang's loss formula with n_spares + 1
    servers, written with incomplete gamma functions so that it holds for arrays.
    """
    load = np.asarray(repairs, dtype=np.float64)
    servers = np.asarray(n_spares, dtype=np.float64) + 1
    at_limit = np.exp(xlogy(servers, load) - load - gammaln(servers + 1))
    up_to_limit = gammaincc(servers + 1, load)
    # Both vanish where the load is far above the spares; the loss tends to 1 - servers/load there.
    known = up_to_limit > 1e-290
    asymptote = 1 - servers / np.where(known, 1.0, np.maximum(load, 1.0))
    return np.where(known, at_limit / np.where(known, up_to_limit, 1.0), asymptote)
