"""Nodes on one machine: network namespaces whose packets go through a relay with rate and delay.

Each node has a TUN interface; a process reads what comes out of each and hands it to its receiver
when a link of that rate, and a wire of that delay, would have. Needs root, `ip` and /dev/net/tun.
"""

from __future__ import annotations

import ctypes
import fcntl
import heapq
import multiprocessing
import os
import select
import shutil
import struct
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from multiprocessing.sharedctypes import Synchronized
from pathlib import Path

_TUNSETIFF = 0x400454CA  # linux/if_tun.h
_IFF_TUN, _IFF_NO_PI = 0x0001, 0x1000
_CLONE_NEWNET = 0x40000000
INTERFACE = "arm0"
MTU_BYTES = 9000
QUEUE_BYTES = 2**24
"""More in flight on one link is dropped, as a switch would."""


def why_not() -> str | None:
    """Return why this machine cannot emulate nodes; None where it can."""
    if sys.platform != "linux":
        return "network namespaces are Linux's"
    if os.geteuid() != 0:
        return "network namespaces need root"
    if shutil.which("ip") is None:
        return "the command ip (iproute2) is missing"
    if not Path("/dev/net/tun").exists():
        return "/dev/net/tun is missing"
    return None


@dataclass(frozen=True, slots=True)
class Nodes:
    """Namespaces that can reach each other, and their links."""

    names: tuple[str, ...]
    rate_bytes_per_s: Synchronized[float]
    delay_s: Synchronized[float]
    """One way."""

    def shape(self, rate_bytes_per_s: float, delay_s: float) -> None:
        """Change all links from now on."""
        self.rate_bytes_per_s.value, self.delay_s.value = rate_bytes_per_s, delay_s

    def command(self, node: int, *words: str) -> list[str]:
        """Return what runs a command on a node."""
        return ["ip", "netns", "exec", self.names[node], *words]

    @staticmethod
    def address(node: int) -> str:
        return f"10.78.0.{node + 1}"


@contextmanager
def emulated_nodes(n_nodes: int) -> Iterator[Nodes]:
    """Make nodes, and take them away afterwards."""
    names = tuple(f"armillary-{os.getpid()}-{node}" for node in range(n_nodes))
    nodes = Nodes(names, multiprocessing.Value("d", 1e9), multiprocessing.Value("d", 0.0))
    tuns: list[int] = []
    relay: multiprocessing.Process | None = None
    try:
        for node, name in enumerate(names):
            _ip("netns", "add", name)
            tuns.append(_open_tun(name))
            _ip("-n", name, "addr", "add", f"{nodes.address(node)}/24", "dev", INTERFACE)
            _ip("-n", name, "link", "set", INTERFACE, "mtu", str(MTU_BYTES), "up")
            _ip("-n", name, "link", "set", "lo", "up")
        relay = multiprocessing.get_context("fork").Process(
            target=_relay, args=(tuns, nodes), daemon=True
        )
        relay.start()
        yield nodes
    finally:
        if relay is not None:
            relay.terminate()
            relay.join()
        for tun in tuns:
            os.close(tun)
        for name in names:
            subprocess.run(["ip", "netns", "del", name], check=False, stderr=subprocess.DEVNULL)


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True)


def _open_tun(namespace: str) -> int:
    """Open a TUN interface inside of a namespace; only the thread that opens it goes there."""
    opened: list[int] = []

    def enter_and_open() -> None:
        with Path(f"/run/netns/{namespace}").open("rb") as place:
            if ctypes.CDLL(None, use_errno=True).setns(place.fileno(), _CLONE_NEWNET) != 0:
                raise OSError(ctypes.get_errno(), "setns")
        tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
        request = struct.pack("16sH22x", INTERFACE.encode(), _IFF_TUN | _IFF_NO_PI)
        fcntl.ioctl(tun, _TUNSETIFF, request)
        opened.append(tun)

    thread = threading.Thread(target=enter_and_open)
    thread.start()
    thread.join()
    return opened[0]


def _relay(tuns: list[int], nodes: Nodes) -> None:
    """Hand packets on, each node's after one another at the rate, and the delay later."""
    poll = select.poll()
    for tun in tuns:
        poll.register(tun, select.POLLIN)
    free_s = dict.fromkeys(tuns, 0.0)
    flying: list[tuple[float, int, int, bytes]] = []
    number = 0
    while True:
        now_s = time.monotonic()
        while flying and flying[0][0] <= now_s:
            _, _, tun, packet = heapq.heappop(flying)
            try:
                os.write(tun, packet)
            except OSError:
                continue  # the receiver's queue is full, or it is gone: TCP sends again
        wait_ms = max(0.0, 1e3 * (flying[0][0] - now_s)) if flying else 100.0
        for tun, _ in poll.poll(wait_ms if wait_ms > 1 else 0):
            packet = os.read(tun, 2**16)
            to = packet[19] - 1 if packet[0] >> 4 == 4 and len(packet) >= 20 else -1
            rate = nodes.rate_bytes_per_s.value
            now_s = time.monotonic()
            if not 0 <= to < len(tuns) or (free_s[tun] - now_s) * rate > QUEUE_BYTES:
                continue
            free_s[tun] = max(now_s, free_s[tun]) + len(packet) / rate
            number += 1
            arrives_s = free_s[tun] + nodes.delay_s.value
            heapq.heappush(flying, (arrives_s, number, tuns[to], packet))
