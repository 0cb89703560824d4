"""The last step of a run for Prometheus: GET /metrics on loopback, in its text format 0.0.4."""

from __future__ import annotations

import threading
from collections import Counter
from dataclasses import asdict
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Self

from runtime.ranks import LOOPBACK
from runtime.result import StepMetrics
from runtime.run_dir import RunDir, event_lines
from simulator.spec.errors import InputError

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

HELP = {
    "step": "Steps done.",
    "loss": "Mean over the global batch.",
    "grad_norm": "Of the whole model, before clipping.",
    "learning_rate": "Of the last step.",
    "step_s": "Seconds of the last step.",
    "data_s": "Seconds the last step waited for its batch.",
    "forward_backward_s": "Seconds of the passes, with what overlaps them.",
    "optimizer_s": "Seconds of gradient norm, clipping and update.",
    "tokens_per_s": "Of the whole job.",
    "peak_memory_bytes": "Of the fullest rank.",
    "mfu": "Model FLOP utilisation, 0 to 1.",
    "end_s": "When the last step ended, since 1970.",
}


class Exporter:
    """Serves what it was told last, until it is left."""

    def __init__(self, port: int, run_dir: Path) -> None:
        """Listen on a loopback port; 0 takes a free one. Raises InputError where it is taken."""
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                found = self.path == "/metrics"
                body = exporter.text().encode() if found else b"try /metrics\n"
                self.send_response(200 if found else 404)
                self.send_header("Content-Type", CONTENT_TYPE)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, format: str, *args: object) -> None:  # noqa: A002  its name
                """Say nothing: the terminal is the run's."""

        try:
            self._server = ThreadingHTTPServer((LOOPBACK, port), Handler)
        except OSError as error:
            raise InputError(
                f"port {port} cannot be used: {error.strerror}", where="--prometheus"
            ) from None
        self._last: StepMetrics | None = None
        self._lines = event_lines(RunDir(run_dir))
        self._events: Counter[str] = Counter()
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._server.serve_forever, daemon=True)

    @property
    def port(self) -> int:
        return int(self._server.server_address[1])

    def step(self, metrics: StepMetrics) -> None:
        """Serve this step from now on."""
        with self._lock:
            self._last = metrics

    def text(self) -> str:
        """Return the page."""
        with self._lock:
            self._events.update(event.event for event in self._lines.new())
            last, events = self._last, sorted(self._events.items())
        lines: list[str] = []
        for name, value in (asdict(last) if last else {}).items():
            lines += [
                f"# HELP armillary_{name} {HELP[name]}",
                f"# TYPE armillary_{name} gauge",
                f"armillary_{name} {value!r}",
            ]
        if events:
            lines += [
                "# HELP armillary_events_total Lines of events.jsonl.",
                "# TYPE armillary_events_total counter",
            ]
            lines += [f'armillary_events_total{{event="{name}"}} {n}' for name, n in events]
        return "\n".join(lines) + "\n"

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()
