"""Whether calls are traced: `relay.tracing` and the SDK behind it are imported only where there is a collector."""

from __future__ import annotations

from typing import TYPE_CHECKING

import structlog

if TYPE_CHECKING:
    from relay.tracing import Tracer

log = structlog.get_logger(__name__)


def open_tracer(endpoint: str | None) -> Tracer | None:
    """Return what traces calls to the collector at `endpoint`; None without one, or where the extra is missing."""
    if endpoint is None:
        return None
    try:
        from relay.tracing import Tracer  # noqa: PLC0415 - see above
    except ModuleNotFoundError as missing:
        why = f"OTEL_EXPORTER_OTLP_ENDPOINT is set, but {missing.name} is not installed: pip install '.[otel]'"
        log.warning("no_traces", why=why)
        return None
    return Tracer.to(endpoint)
