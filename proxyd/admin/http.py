"""The admin HTTP address: /metrics, /live and /ready, for Prometheus and orchestrators.

Imported when somebody first connects: the framework and the server weigh some 10 MB.
"""

import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import Any, Final

import hypercorn.trio
from hypercorn.config import Config
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from proxyd.admin.bind import host_port
from proxyd.admin.guard import App, Guard, problem_body
from proxyd.admin.service import Service
from proxyd.sdk.exporter import TEXT_FORMAT

HEAD_BYTES: Final = 16 * 1024
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than Prometheus' scrape interval of a minute."""
READ_SECONDS: Final = 10
END_SECONDS: Final = 1.0

Answers = Callable[[], Awaitable[bool]]


def application(service: Service, address: str, socket_answers: Answers) -> App:
    """Return the ASGI application for ``address`` (``host:port`` as bound)."""

    async def metrics(request: Request) -> Response:
        return Response(await service.metrics_text(), headers={"content-type": TEXT_FORMAT})

    async def live(request: Request) -> Response:
        return Response(b"live\n", media_type="text/plain")

    async def ready(request: Request) -> Response:
        if not await service.is_ready():
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "not every worker has applied a configuration")
        if not await socket_answers():
            return _problem(HTTPStatus.SERVICE_UNAVAILABLE, "the admin socket does not answer")
        return Response(b"ready\n", media_type="text/plain")

    routes = [Route("/metrics", metrics), Route("/live", live), Route("/ready", ready)]
    return Guard(Starlette(routes=routes, exception_handlers={HTTPException: _refused}), address)


async def serve(service: Service, sock: socket.socket, socket_answers: Answers) -> None:
    """Serve on a listening socket until cancelled; closes it."""
    config = Config()
    config.bind = [f"fd://{sock.fileno()}"]
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = HEAD_BYTES
    config.keep_alive_timeout = KEEP_ALIVE_SECONDS
    config.read_timeout = READ_SECONDS
    config.graceful_timeout = END_SECONDS
    app: Any = application(service, host_port(sock), socket_answers)  # hypercorn types scopes as TypedDicts of its own
    sock.detach()  # hypercorn owns the descriptor now
    await hypercorn.trio.serve(app, config, mode="asgi")


async def _refused(request: Request, error: Exception) -> Response:
    status = HTTPStatus(error.status_code) if isinstance(error, HTTPException) else HTTPStatus.INTERNAL_SERVER_ERROR
    return _problem(status, "there are /metrics, /live and /ready" if status is HTTPStatus.NOT_FOUND else status.phrase)


def _problem(status: HTTPStatus, detail: str) -> Response:
    return Response(problem_body(status, detail), status.value, media_type="application/problem+json")
