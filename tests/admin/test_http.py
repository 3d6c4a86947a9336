import httpx
import pytest

from proxyd.admin.http import application
from tests.admin.fakes import FakeService

ADDRESS = "127.0.0.2:3130"


class Lab:
    def __init__(self, address=ADDRESS):
        self.service = FakeService()
        self.answers = True
        self.app = application(self.service, address, self.socket_answers)

    async def socket_answers(self):
        return self.answers

    async def send(self, path="/live", method="GET", host=ADDRESS, headers=()):
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        async with httpx.AsyncClient(transport=transport) as client:
            return await client.request(method, f"http://{ADDRESS}{path}", headers=[("host", host), *headers])


@pytest.fixture
def lab():
    return Lab()


async def test_metrics_are_the_service_s_page(lab):
    response = await lab.send("/metrics")
    assert response.content == b"# HELP x y\n"
    assert response.headers["content-type"] == "text/plain; version=0.0.4; charset=utf-8"


async def test_live_is_always_true(lab):
    lab.service.ready = False
    assert (await lab.send("/live")).status_code == 200


@pytest.mark.parametrize(
    ("ready", "answers", "status", "detail"),
    [
        (True, True, 200, None),
        (False, True, 503, "not every worker has applied a configuration"),
        (True, False, 503, "the admin socket does not answer"),
    ],
)
async def test_ready_needs_the_workers_and_the_socket(lab, ready, answers, status, detail):
    lab.service.ready, lab.answers = ready, answers
    response = await lab.send("/ready")
    assert response.status_code == status
    if detail:
        assert response.headers["content-type"] == "application/problem+json"
        assert response.json() == {"title": "Service Unavailable", "status": 503, "detail": detail}


@pytest.mark.parametrize("host", [ADDRESS, "localhost:3130", "LOCALHOST:3130", "127.0.0.1:3130", "[::1]:3130"])
async def test_names_of_this_address_are_served(lab, host):
    response = await lab.send(host=host, headers=[("origin", f"http://{host}"), ("sec-fetch-site", "same-origin")])
    assert response.status_code == 200


@pytest.mark.parametrize(
    ("host", "headers"),
    [
        ("evil.example:3130", []),
        ("localhost", []),
        ("localhost:3131", []),
        ("", []),
        ("localhost:3130.evil.example", []),
        ("user@localhost:3130", []),
        (ADDRESS, [("host", "evil.example")]),
        (ADDRESS, [("origin", "https://evil.example")]),
        (ADDRESS, [("origin", "null")]),
        (ADDRESS, [("origin", f"https://{ADDRESS}")]),
        (ADDRESS, [("origin", f"http://{ADDRESS}"), ("origin", "http://evil.example")]),
        (ADDRESS, [("sec-fetch-site", "cross-site")]),
        (ADDRESS, [("sec-fetch-site", "same-site")]),
        (ADDRESS, [("sec-fetch-site", "")]),
    ],
)
@pytest.mark.parametrize("path", ["/metrics", "/live", "/absent"])
async def test_what_a_foreign_page_could_send_is_refused(lab, host, headers, path):
    response = await lab.send(path, host=host, headers=headers)
    assert response.status_code == 403
    assert response.json()["status"] == 403


async def test_an_address_of_this_machine_will_do_where_all_are_bound():
    lab = Lab("0.0.0.0:3130")
    assert (await lab.send(host=ADDRESS)).status_code == 200
    assert (await lab.send(host="evil.example:3130")).status_code == 403


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS", "PATCH"])
async def test_only_reading_is_possible(lab, method):
    response = await lab.send(method=method)
    assert response.status_code == 405
    assert response.headers["allow"] == "GET, HEAD"


async def test_head_has_no_body(lab):
    response = await lab.send("/ready", method="HEAD")
    assert (response.status_code, response.content) == (200, b"")


async def test_an_unknown_path_says_what_there_is(lab):
    response = await lab.send("/absent")
    assert response.status_code == 404
    assert response.json()["detail"] == "there are /metrics, /live and /ready"


async def test_a_websocket_is_refused(lab):
    sent = []

    async def send(message):
        sent.append(message)

    await lab.app({"type": "websocket", "headers": []}, None, send)
    assert sent == [{"type": "websocket.close", "code": 1008}]
