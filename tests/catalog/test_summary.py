from proxyd.catalog.summary import CATEGORIES, environment, hosts, row, rows

DEFINITION = {
    "name": "tickets",
    "title": "Tickets",
    "category": "development",
    "hosts": ["api.{site}", {"name": "registry", "domain": "example.org"}],
    "your_hosts": {"suffixes": ["*.tickets.example"]},
    "fields": {
        "token": {"title": "Token", "environment": ["A_TOKEN"]},
        "site": {"title": "Site", "secret": False, "default": "tickets.example"},
    },
    "schemes": [
        {"name": "app", "token": {"flow": "github_app"}, "apply": [{"scheme": "bearer"}]},
        {"name": "token", "apply": [{"scheme": "basic"}, {"scheme": "bearer"}]},
    ],
    "environment": {"urls": ["A_URL"], "others": ["A_TOKEN"]},
    "probe": {"path": "/me"},
    "documentation": ["https://tickets.example"],
}


def test_every_service_has_what_is_promised():
    found = rows()
    assert found
    for one in found:
        assert {"name", "title", "category", "hosts", "schemes", "probe", "environment"} <= one.keys()
        assert one["category"] in CATEGORIES
        assert one["hosts"]
        assert one["schemes"]
        assert one["probe"]["path"]


def test_hosts_have_defaults_and_a_place_for_the_users_own():
    assert hosts(DEFINITION) == ["api.tickets.example", "registry.example.org", "{host}"]


def test_variables_are_named_once():
    assert environment(DEFINITION) == ["A_TOKEN", "A_URL"]


def test_schemes_are_told_by_name_and_by_how_they_present():
    told = row(DEFINITION)
    assert (told["schemes"], told["presented"], told["flows"]) == (
        ["app", "token"],
        ["bearer", "basic"],
        ["github_app"],
    )
    assert told["probe"] == {"method": "GET", "expect": [200], "path": "/me"}
