"""PyGithub and git with placeholders, through proxyd, to a double of GitHub."""

import base64
import os
import subprocess

import pytest

from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("PyGithub", "git")
AGAINST = "double"
TOKEN = "github_pat_11AAAAAAA0abcdefghijkl_ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789abcdefghijklmnopqrstu"
HOSTS = ("api.github.com", "uploads.github.com", "github.com", "gist.github.com")


def check(asked):
    """GitHub's rule: a bearer token for the API, Basic with the token as the password for git."""
    said = asked.value("authorization")
    if asked.host == "github.com":
        kind, _, pair = said.partition(" ")
        user, _, password = base64.b64decode(pair).decode().partition(":")
        return "" if kind == "Basic" and user and password == TOKEN else "Bad credentials"
    if not asked.value("user-agent"):
        return "a User-Agent is needed"
    return "" if said in (f"Bearer {TOKEN}", f"token {TOKEN}") else "Bad credentials"


def answers(asked):
    headers = {"x-ratelimit-limit": "5000", "x-ratelimit-remaining": "4999", "x-oauth-scopes": "repo"}
    match asked.method, asked.path:
        case "GET", "/user":
            return Answer(200, {"login": "octocat", "id": 1, "url": "https://api.github.com/users/octocat"}, headers)
        case "GET", "/repos/octocat/hello":
            url = "https://api.github.com/repos/octocat/hello"
            return Answer(200, {"id": 2, "name": "hello", "full_name": "octocat/hello", "url": url}, headers)
        case "GET", "/repos/octocat/hello/issues":
            page = asked.parameter("page") or "1"
            link = {"link": f'<https://api.github.com{asked.path}?page=2>; rel="next"'} if page == "1" else {}
            issue = {"number": int(page), "title": f"issue {page}", "url": f"https://api.github.com/issues/{page}"}
            return Answer(200, [issue], headers | link)
        case "POST", "/repos/octocat/hello/issues":
            return Answer(201, {"number": 3, "title": asked.json()["title"]}, headers)
    return Answer(404, {"message": "Not Found"}, headers)


def test_the_sdk_works_with_a_placeholder(pki_of, vendor, proxied):
    import github

    pki = pki_of(*HOSTS)
    double = vendor(pki, check, answers)
    proxied(pki, {"github": {"secret": "github/token", **loopback(double.port)}}, {"github/token": TOKEN})
    client = github.Github(auth=github.Auth.Token(PLACEHOLDER), retry=None)
    assert client.get_user().login == "octocat"
    repository = client.get_repo("octocat/hello")
    assert [issue.title for issue in repository.get_issues()] == ["issue 1", "issue 2"]
    assert repository.create_issue("broken").number == 3
    assert double.refused == []
    assert {asked.value("x-github-api-version") for asked in double.asked} <= {"2022-11-28"}
    assert all(PLACEHOLDER not in value for asked in double.asked for _, value in asked.headers)


def test_the_version_is_pinned_where_the_client_names_none(pki_of, vendor, proxied):
    import requests

    pki = pki_of(*HOSTS)
    double = vendor(pki, check, answers)
    proxied(pki, {"github": {"secret": "github/token", **loopback(double.port)}}, {"github/token": TOKEN})
    requests.get("https://api.github.com/user", timeout=20).raise_for_status()
    assert double.asked[-1].value("x-github-api-version") == "2022-11-28"
    requests.get("https://api.github.com/user", headers={"X-GitHub-Api-Version": "2026-03-10"}, timeout=20)
    assert double.asked[-1].value("x-github-api-version") == "2026-03-10"


def test_leftovers_of_clients_are_removed(pki_of, vendor, proxied):
    import requests

    pki = pki_of(*HOSTS)
    double = vendor(pki, check, answers)
    proxied(pki, {"github": {"secret": "github/token", **loopback(double.port)}}, {"github/token": TOKEN})
    url = "https://api.github.com/user?access_token=old&page=1"
    requests.get(url, headers={"Cookie": "user_session=x"}, timeout=20).raise_for_status()
    assert double.asked[-1].target == "/user?page=1"
    assert not double.asked[-1].values("cookie")


@pytest.fixture
def repository(tmp_path):
    """A bare repository with one commit."""
    folder = tmp_path / "served" / "octocat" / "hello.git"
    work = tmp_path / "work"

    def git(*words):
        subprocess.run(["git", *words], check=True, capture_output=True)

    git("init", "-q", "-b", "main", work)
    (work / "readme").write_text("hello\n")
    named = ["-c", "user.name=t", "-c", "user.email=t@example.com"]
    git("-C", work, "add", "readme")
    git("-C", work, *named, "commit", "-qm", "first")
    git("clone", "-q", "--bare", work, folder)
    git("-C", folder, "config", "http.receivepack", "true")
    return folder


def backend(root):
    """Answer as ``git http-backend`` does."""

    def answer(asked):
        path, _, query = asked.target.partition("?")
        variables = {
            **os.environ,
            "GIT_PROJECT_ROOT": str(root),
            "GIT_HTTP_EXPORT_ALL": "1",
            "REMOTE_USER": "octocat",
            "PATH_INFO": path,
            "QUERY_STRING": query,
            "REQUEST_METHOD": asked.method,
            "CONTENT_TYPE": asked.value("content-type"),
            "CONTENT_LENGTH": str(len(asked.body)),
            "HTTP_CONTENT_ENCODING": asked.value("content-encoding"),
            "GIT_PROTOCOL": asked.value("git-protocol"),
        }
        done = subprocess.run(["git", "http-backend"], input=asked.body, env=variables, capture_output=True, check=True)
        head, _, body = done.stdout.partition(b"\r\n\r\n")
        fields = dict(line.split(": ", 1) for line in head.decode().split("\r\n"))
        return Answer(int(fields.pop("Status", "200").split()[0]), body, fields)

    return answer


def test_git_clones_and_pushes_without_a_password(pki_of, vendor, proxied, repository, tmp_path):
    pki = pki_of(*HOSTS)
    double = vendor(pki, check, backend(repository.parent.parent), lambda why: Answer(401, why))
    proxy = proxied(pki, {"github": {"secret": "github/token", **loopback(double.port)}}, {"github/token": TOKEN})
    proxy.output("git", "clone", "-q", "https://github.com/octocat/hello.git", "copy")
    copy = proxy.daemon.folder / "copy"
    assert (copy / "readme").read_text() == "hello\n"
    (copy / "readme").write_text("more\n")
    named = ("-c", "user.name=t", "-c", "user.email=t@example.com")
    proxy.output("git", *named, "commit", "-qam", "second", cwd=copy)
    proxy.output("git", "push", "-q", "origin", "main", cwd=copy)
    assert proxy.output("git", "-C", str(repository), "log", "-1", "--format=%s", "main") == "second\n"
    assert double.refused == []
