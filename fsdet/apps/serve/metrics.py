"""Metrics of the service in Prometheus' text format, version 0.0.4."""

from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator

from fsdet.apps.serve.observer import OTHER, Answered
from fsdet.apps.serve.service import Service

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"
SECONDS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 120.0)  # of a histogram
METHODS = {"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"}


class Metrics:
    """Counts and times of a service's requests, beside the state of the service.

    Labels have few values, whatever clients send: routes are those of the service.
    """

    def __init__(self, service: Service):
        self._service = service
        self._requests: Counter[tuple[str, str, int]] = Counter()  # method, route, status
        self._within: defaultdict[str, list[int]] = defaultdict(lambda: [0] * len(SECONDS))
        self._total: defaultdict[str, float] = defaultdict(float)  # seconds, by route

    def observe(self, answered: Answered) -> None:
        """Count an answered request."""
        method = answered.method if answered.method in METHODS else OTHER
        self._requests[method, answered.route, answered.status] += 1
        self._total[answered.route] += answered.seconds
        within = self._within[answered.route]
        for n, limit in enumerate(SECONDS):
            within[n] += answered.seconds <= limit

    def text(self) -> str:
        """All metrics."""
        return "\n".join([*self._of_requests(), *self._of_times(), *self._of_state(), ""])

    def _of_requests(self) -> Iterator[str]:
        yield from _head("fsdet_requests_total", "counter", "Answered requests.")
        for (method, route, status), count in sorted(self._requests.items()):
            labels = f'method="{method}",route="{route}",status="{status}"'
            yield f"fsdet_requests_total{{{labels}}} {count}"

    def _of_times(self) -> Iterator[str]:
        name = "fsdet_request_seconds"
        yield from _head(name, "histogram", "Seconds from a request's head to its answer's end.")
        counts: Counter[str] = Counter()
        for (_, route, _), count in self._requests.items():
            counts[route] += count
        for route, count in sorted(counts.items()):
            limits: Iterable[tuple[object, int]] = zip(SECONDS, self._within[route], strict=True)
            for limit, within in (*limits, ("+Inf", count)):
                yield f'{name}_bucket{{route="{route}",le="{limit}"}} {within}'
            yield f'{name}_sum{{route="{route}"}} {self._total[route]:.6f}'
            yield f'{name}_count{{route="{route}"}} {count}'

    def _of_state(self) -> Iterator[str]:
        service, snapshot = self._service, self._service.snapshot
        values = {
            "categories": (len(snapshot.detector.names), "Categories that are detected."),
            "registered_regions": (sum(map(len, snapshot.lessons)), "Regions learned here."),
            "predictions_waiting": (service.predicting.calls, "Predictions that run or wait."),
            "lessons_waiting": (service.learning.calls, "Registrations that run or wait."),
        }
        for name, (value, text) in values.items():
            yield from _head(f"fsdet_{name}", "gauge", text)
            yield f"fsdet_{name} {value}"


def _head(name: str, kind: str, text: str) -> list[str]:
    return [f"# HELP {name} {text}", f"# TYPE {name} {kind}"]
