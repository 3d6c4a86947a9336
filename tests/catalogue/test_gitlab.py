"""python-gitlab with a placeholder, through proxyd, to a double of GitLab."""

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("python-gitlab",)
AGAINST = "double"
TOKEN = "glpat-AAAAAAAAAAAAAAAAAAAA"


def check(asked):
    """GitLab's rule: PRIVATE-TOKEN, and nothing beside it that would change who asks."""
    strange = [name for name in ("authorization", "job-token", "sudo", "cookie") if asked.values(name)]
    return "" if asked.value("private-token") == TOKEN and not strange else "401 Unauthorized"


def answers(asked):
    limits = {"ratelimit-limit": "2000", "ratelimit-remaining": "1999"}
    match asked.method, asked.target.partition("?")[0]:
        case "GET", "/api/v4/user":
            return Answer(200, {"id": 1, "username": "ada"}, limits)
        case "GET", "/api/v4/projects/group%2Fproject":
            return Answer(200, {"id": 7, "path_with_namespace": "group/project"}, limits)
        case "POST", "/api/v4/projects/7/issues":
            return Answer(201, {"iid": 3, "title": asked.json()["title"]}, limits)
    return Answer(404, {"message": "404 Not Found"})


def test_the_sdk_works_with_a_placeholder(pki_of, vendor, proxied):
    import gitlab

    pki = pki_of("gitlab.com")
    double = vendor(pki, check, answers)
    proxied(pki, {"gitlab": {"secret": "gl/token", **loopback(double.port)}}, {"gl/token": TOKEN})
    client = gitlab.Gitlab(private_token=PLACEHOLDER)
    client.auth()
    assert client.user.username == "ada"
    project = client.projects.get("group/project")  # its slash stays %2F
    assert project.issues.create({"title": "broken"}).iid == 3
    assert double.refused == []


def test_sudo_of_the_client_is_removed_and_a_wrong_token_refused(pki_of, vendor, proxied):
    import gitlab

    pki = pki_of("gitlab.com")
    double = vendor(pki, check, answers)
    proxied(pki, {"gitlab": {"secret": "gl/token", **loopback(double.port)}}, {"gl/token": "glpat-another-token-here"})
    client = gitlab.Gitlab(private_token=PLACEHOLDER)
    client.headers["Sudo"] = "root"
    with pytest.raises(gitlab.exceptions.GitlabAuthenticationError):
        client.auth()
    assert not double.asked[-1].values("sudo")
