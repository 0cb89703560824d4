"""A fabric as its user draws it: switches and hosts by name, and the links between them."""

from __future__ import annotations

import re
from typing import Self

from pydantic import Field, model_validator

from simulator.spec.base import Name, Spec
from simulator.spec.errors import InputError
from simulator.spec.units import BytesPerSecond, Seconds

MAX_LINKS = 65_536
_HOST = re.compile(r"(node|device)-(0|[1-9]\d{0,6})")


class GraphLink(Spec):
    """A link between two vertices, with as much in each direction."""

    ends: tuple[Name, Name]
    bandwidth_bytes_per_s: BytesPerSecond = Field(gt=0)
    """Line rate."""
    latency_s: Seconds = Field(default=0.0, ge=0)
    """What the way over it adds to the latency of a message."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if self.ends[0] == self.ends[1]:
            raise ValueError(f"the link joins {self.ends[0]} to itself")
        return self


class FabricGraph(Spec):
    """Links that join all hosts: the vertices `node-0`, `node-1` ..., or `device-0` ... instead.

    All other vertices are switches.
    """

    links: tuple[GraphLink, ...] = Field(max_length=MAX_LINKS)
    end_latency_s: Seconds | None = Field(default=None, ge=0)
    """What a message costs its two ends, beside its links; unset means what the device's network
    interface usually does."""

    @model_validator(mode="after")
    def _check(self) -> Self:
        if not self.links:
            raise ValueError("a fabric without links")
        seen: set[frozenset[str]] = set()
        for number, link in enumerate(self.links):
            if frozenset(link.ends) in seen:
                raise ValueError(
                    f"links[{number}]: a second link {' -- '.join(link.ends)}; add up their "
                    "bandwidths in one"
                )
            seen.add(frozenset(link.ends))
        self._check_hosts()
        self._check_connected()
        return self

    def _check_hosts(self) -> None:
        taken = next((name for name in self.vertices if name.startswith("domain-")), None)
        if taken:
            raise ValueError(f"{taken} is the name of a scale-up switch; call the vertex otherwise")
        found = [_HOST.fullmatch(name) for name in self.vertices]
        hosts = [match for match in found if match]
        kinds = {match[1] for match in hosts}
        if len(kinds) != 1:
            raise ValueError(
                "hosts are called node-0, node-1 ..., or device-0, device-1 ...; the links name "
                + ("both" if kinds else "neither")
            )
        numbers = {int(match[2]) for match in hosts}
        missing = next(number for number in range(len(numbers) + 1) if number not in numbers)
        if missing < len(numbers):
            raise ValueError(
                f"no link leads to {self.host_kind}-{missing}, and there is "
                f"{self.host_kind}-{max(numbers)}"
            )

    def _check_connected(self) -> None:
        first = self.links[0].ends[0]
        reached, ahead = {first}, [first]
        neighbours = self.neighbours
        while ahead:
            new = neighbours[ahead.pop()] - reached
            reached |= new
            ahead += new
        left = sorted(self.neighbours.keys() - reached)
        if left:
            raise ValueError(
                f"the fabric is not connected: no way leads from {first} to {left[0]} (and "
                f"{len(left) - 1} others)"
            )

    @property
    def vertices(self) -> tuple[str, ...]:
        """Names of hosts and switches, in the order of the links."""
        return tuple(dict.fromkeys(end for link in self.links for end in link.ends))

    @property
    def neighbours(self) -> dict[str, set[str]]:
        """What every vertex is joined to."""
        found: dict[str, set[str]] = {name: set() for name in self.vertices}
        for link in self.links:
            one, other = link.ends
            found[one].add(other)
            found[other].add(one)
        return found

    @property
    def host_kind(self) -> str:
        """What the hosts are: `node` or `device`."""
        return next(match[1] for name in self.vertices if (match := _HOST.fullmatch(name)))

    @property
    def n_hosts(self) -> int:
        """How many there are."""
        return sum(_HOST.fullmatch(name) is not None for name in self.vertices)

    def host_of(self, device: int, devices_per_node: int) -> str:
        """Return the vertex on which a device is."""
        whole_nodes = self.host_kind == "node"
        return f"node-{device // devices_per_node}" if whole_nodes else f"device-{device}"

    def of_first(self, n_hosts: int) -> FabricGraph:
        """Return the fabric of the first hosts: all switches, without the links of other hosts.

        Raises InputError where there are fewer hosts, or the others lead from one to the next.
        """
        kind = self.host_kind
        if n_hosts == self.n_hosts:
            return self
        if n_hosts > self.n_hosts:
            raise InputError(
                f"the fabric's graph joins {self.n_hosts} {kind}s, and {n_hosts} are wanted",
                fix="draw the links of the others, or name a fabric of the catalog",
            )
        gone = {f"{kind}-{number}" for number in range(n_hosts, self.n_hosts)}
        links = tuple(link for link in self.links if gone.isdisjoint(link.ends))
        try:
            return FabricGraph(links=links, end_latency_s=self.end_latency_s)
        except ValueError:
            raise InputError(
                f"the fabric's graph does not join its first {n_hosts} {kind}s without the others",
                fix=f"number the {kind}s so that neighbours follow each other",
            ) from None
