"""Addresses for those who watch the service: liveness, readiness and metrics."""

from fastapi import APIRouter
from fastapi.responses import PlainTextResponse
from pydantic import BaseModel

import fsdet
from fsdet.apps.serve.limits import Refusal
from fsdet.apps.serve.metrics import CONTENT_TYPE, Metrics
from fsdet.apps.serve.service import Service


class Health(BaseModel):
    """State of the service, version of the detector and version of fsdet."""

    status: str
    version: str
    fsdet: str


class Readiness(BaseModel):
    """Whether requests would be taken."""

    status: str


def router(service: Service, metrics: Metrics) -> APIRouter:
    """The addresses; no number of requests at once keeps them from answering."""
    routes = APIRouter(tags=["Operation"])

    @routes.get("/health")
    async def health() -> Health:
        """State and versions of the service: it runs."""
        return Health(status="ok", version=service.snapshot.version, fsdet=fsdet.__version__)

    @routes.get("/ready")
    async def ready() -> Readiness:
        """Whether the service would take a prediction now; 503 while its queue is full."""
        if service.predicting.is_full:
            raise Refusal(503, f"{service.predicting.calls} predictions are waiting already")
        return Readiness(status="ready")

    @routes.get("/metrics", response_class=PlainTextResponse)
    async def show() -> PlainTextResponse:
        """Requests, their times and the state of the service, for Prometheus."""
        return PlainTextResponse(metrics.text(), media_type=CONTENT_TYPE)

    return routes
