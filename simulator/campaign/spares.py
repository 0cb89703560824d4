"""How long a job with spares waits for nodes in repair.

The repair time enters by its mean only wherever repairs do not wait for a crew (M/G/infinity and
Erlang's loss system are insensitive to the distribution).

References
----------
A. K. Erlang's formulas as in L. Kleinrock, "Queueing Systems I" (1975), sections 3.5 and 3.7;
insensitivity: B. A. Sevastyanov, Theory of Probability 2 (1957).
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from simulator.cost.plan_table import FloatArray


def offered_repairs(
    n_nodes: npt.ArrayLike, failures_per_node_s: npt.ArrayLike, repair_s: npt.ArrayLike
) -> FloatArray:
    """Mean number of nodes in repair while n nodes run: n x rate x repair time."""
    return (
        np.asarray(n_nodes, dtype=np.float64)
        * np.asarray(failures_per_node_s, dtype=np.float64)
        * np.asarray(repair_s, dtype=np.float64)
    )


def waiting_share(repairs: npt.ArrayLike, n_spares: npt.ArrayLike) -> FloatArray:
    """Share of time that a job waits for a node, when nothing fails while it waits.

    One more node than there are spares is down then: Erlang's loss formula with n_spares + 1
    servers, written with incomplete gamma functions so that it holds for arrays.
    """
    from scipy.special import gammaincc, gammaln, xlogy

    load = np.asarray(repairs, dtype=np.float64)
    servers = np.asarray(n_spares, dtype=np.float64) + 1
    at_limit = np.exp(xlogy(servers, load) - load - gammaln(servers + 1))
    up_to_limit = gammaincc(servers + 1, load)
    # Both vanish where the load is far above the spares; the loss tends to 1 - servers/load there.
    known = up_to_limit > 1e-290
    asymptote = 1 - servers / np.where(known, 1.0, np.maximum(load, 1.0))
    return np.where(known, at_limit / np.where(known, up_to_limit, 1.0), asymptote)
