from proxyd.core.events import ACCESS
from proxyd.core.records import Batch
from proxyd.telemetry.unknown import MAX_SENT, MOST, UnknownHosts
from tests.telemetry.records import access


def batch(*records):
    return Batch(0, {ACCESS: list(records)})


def rows(*records):
    table = UnknownHosts()
    table.take(batch(*records))
    return table.rows()


def unknown(authority="api.example:443", **changes):
    return access(authority=authority, service=None, credential=None, **changes)


def test_requests_and_tunnels_to_hosts_that_are_no_service_are_counted():
    found = rows(
        unknown(time=1_790_000_000.0),
        unknown(time=1_790_000_060.0, kind="tunnel", method=b"CONNECT"),
        unknown("other.example:8443"),
        access(authority="known.example:443", service="known"),
    )
    assert [(row["host"], row["requests"], row["tunnels"]) for row in found] == [
        ("api.example", 1, 1),
        ("other.example:8443", 1, 0),
    ]
    assert (found[0]["first_seen"], found[0]["last_seen"]) == ("2026-09-21T14:13:20Z", "2026-09-21T14:14:20Z")


def test_what_clients_sent_is_told_by_name_and_bounded():
    sent = [unknown(own_credential=f"x-key-{number}") for number in range(MAX_SENT + 5)]
    (row,) = rows(
        unknown(own_credential="authorization: Bearer"), unknown(own_credential="authorization: Bearer"), *sent
    )
    assert row["own_credentials"][0] == "authorization: Bearer"
    assert len(row["own_credentials"]) == MAX_SENT


def test_what_had_no_host_or_was_no_request_is_nothing():
    assert rows(unknown("-:0", status=400), unknown(status=400)) == []


def test_the_table_is_bounded_and_keeps_the_latest():
    table = UnknownHosts()
    for number in range(MOST + 3):
        table.take(batch(unknown(f"h{number}.example:443")))
        table.take(batch(unknown("h0.example:443")))
    names = {row["host"] for row in table.rows()}
    assert len(names) == MOST
    assert {"h0.example", f"h{MOST + 2}.example"} <= names
    assert "h1.example" not in names
