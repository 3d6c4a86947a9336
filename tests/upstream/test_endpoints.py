"""What a worker thinks of one endpoint."""

from proxyd.core.service import Endpoint
from proxyd.upstream.endpoints import EndpointState


def test_a_race_that_was_lost_never_makes_an_endpoint_look_faster() -> None:
    slow = EndpointState(Endpoint("a", 1), 0.0, None)
    slow.observe(0.2, 0.0)
    for now in range(1, 60):
        slow.outlast(0.02, float(now))
    assert slow.load(60.0) >= 0.19
    slow.outlast(0.5, 60.0)
    assert slow.load(60.0) == 0.5
