"""What a Prometheus server asks for."""

from __future__ import annotations

from twisted.web.server import Request

from portero.observers.metrics import CONTENT_TYPE, Metrics
from portero.web.access import Access, Guarded
from portero.web.problem import answer_bytes


class MetricsResource(Guarded):
    """C{/metrics}, for those who may read."""

    isLeaf = True

    def __init__(self, access: Access, metrics: Metrics) -> None:
        super().__init__(access)
        self._metrics = metrics

    def render_GET(self, request: Request) -> bytes:
        return answer_bytes(request, self._metrics.text(), CONTENT_TYPE)
