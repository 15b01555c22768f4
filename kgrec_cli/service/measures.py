"""What Prometheus reads at `/metrics`."""

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    PlatformCollector,
    ProcessCollector,
    generate_latest,
)

from kgrec_cli.service.service import Service

BUCKETS_S = (0.0005, 0.001, 0.002, 0.003, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1, 5)


class Measures:
    """The counters of one service."""

    def __init__(self, service: Service) -> None:
        self._registry = registry = CollectorRegistry()
        ProcessCollector(registry=registry)
        PlatformCollector(registry=registry)
        self._requests = Counter(
            "kgrec_requests",
            "Requests by route and status.",
            ("route", "status"),
            registry=registry,
        )
        self._seconds = Histogram(
            "kgrec_request_seconds",
            "Time from the head of a request to the end of its answer.",
            ("route",),
            buckets=BUCKETS_S,
            registry=registry,
        )
        self.reloads = Counter(
            "kgrec_reloads",
            "Runs taken up while serving, by result.",
            ("result",),
            registry=registry,
        )
        sessions = Gauge("kgrec_sessions", "Open sessions.", registry=registry)
        sessions.set_function(lambda: len(service.sessions))
        items = Gauge("kgrec_items", "Items that are ranked.", registry=registry)
        items.set_function(lambda: len(service.served.run.items) - 1)

    def count(self, route: str, status: int, elapsed_s: float) -> None:
        """Counts one answered request."""
        self._requests.labels(route, str(status)).inc()
        self._seconds.labels(route).observe(elapsed_s)

    def text(self) -> bytes:
        """All of them in Prometheus' text format."""
        return generate_latest(self._registry)
