"""PyGithub, git and gh with placeholders, through proxyd, to a double of GitHub."""

import base64
import os
import subprocess
import time

import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import rsa

from tests.catalogue.lab.issuer import asking
from tests.catalogue.lab.proxied import PLACEHOLDER, loopback
from tests.catalogue.lab.vendor import Answer

CLIENTS = ("PyGithub", "git", "gh")
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


# --- an installation of an App --------------------------------------------------------------------

APP, INSTALLATION = "4711", "77"


@pytest.fixture(scope="module")
def key():
    """The App's private key."""
    return rsa.generate_private_key(65537, 2048)


def pem(key):
    form = serialization.PrivateFormat.TraditionalOpenSSL  # as GitHub hands it out
    return key.private_bytes(serialization.Encoding.PEM, form, serialization.NoEncryption()).decode()


class App:
    """GitHub's rules for Apps; assertions are read by PyJWT.

    https://docs.github.com/apps/creating-github-apps/authenticating-with-a-github-app/generating-a-json-web-token-jwt-for-a-github-app
    """

    def __init__(self, key):
        self.public = key.public_key()
        self.issued = 0

    @property
    def token(self):
        return f"ghs_{self.issued:036d}"

    def check(self, asked):
        kind, _, value = asked.value("authorization").partition(" ")
        if asked.path.startswith("/app/"):
            return self.refusal(value) if kind == "Bearer" else "A JSON web token could not be decoded"
        if asked.host == "github.com":
            return "" if base64.b64decode(value).decode() == f"x-access-token:{self.token}" else "Bad credentials"
        return "" if value == self.token and kind in ("Bearer", "token") else "Bad credentials"

    def refusal(self, assertion):
        import jwt

        try:
            claims = jwt.decode(assertion, self.public, ["RS256"], options={"require": ["iat", "exp", "iss"]})
        except jwt.PyJWTError as error:
            return f"{type(error).__name__}: {error}"
        if claims["iss"] != APP:
            return "'Issuer' claim ('iss') must be an Integer"
        if claims["exp"] - time.time() > 600:
            return "'Expiration time' claim ('exp') is too far in the future"
        return ""

    def answers(self, asked):
        if asked.path.startswith("/app/"):
            assert (asked.method, asked.path) == ("POST", f"/app/installations/{INSTALLATION}/access_tokens")
            self.issued += 1
            ends = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))
            return Answer(201, {"token": self.token, "expires_at": ends, "permissions": {"issues": "write"}})
        if asked.path == "/installation/repositories":
            return Answer(200, {"total_count": 1, "repositories": [{"full_name": "octocat/hello"}]})
        return answers(asked)


@pytest.fixture
def start(pki_of, vendor, proxied, tmp_path, key):
    """Run the double and a daemon that has the App's key."""

    def started(private=None):
        app = App(key)
        pki = pki_of(*HOSTS, "localhost")
        double = vendor(pki, app.check, app.answers)
        section = {
            "secret": {"private_key": "github/key"},
            "options": {"app_id": APP, "installation_id": INSTALLATION},
            **loopback(double.port),
        }
        catalogue = [asking("github", double.port, tmp_path)]
        proxy = proxied(pki, {"github": section}, {"github/key": pem(private or key)}, catalogue=catalogue)
        return app, double, proxy

    return started


def test_an_app_is_let_in_by_tokens_of_its_installation(start, key):
    import github

    app, double, proxy = start()
    client = github.Github(auth=github.Auth.Token(PLACEHOLDER), retry=None)
    assert client.get_repo("octocat/hello").create_issue("broken").number == 3
    app.issued += 1  # GitHub has revoked it, long before its hour is over
    assert client.get_user().login == "octocat"
    assert sum(asked.path.startswith("/app/") for asked in double.asked) == 2
    assert double.refused == ["Bad credentials"]
    listed = proxy.output("gh", "api", "/installation/repositories", variables={"GH_TOKEN": PLACEHOLDER})
    assert "octocat/hello" in listed
    assert all(PLACEHOLDER not in value for asked in double.asked for _, value in asked.headers)
    own = github.Auth.AppAuth(APP, pem(key)).create_jwt()
    assert app.refusal(own) == "", "what PyGithub signs itself passes the same rule"


def test_a_key_of_another_app_is_refused_and_said(start):
    import requests

    _, double, proxy = start(private=rsa.generate_private_key(65537, 2048))
    answer = requests.get("https://api.github.com/user", timeout=30)
    assert answer.status_code == 500
    assert "the issuer answered 401" in answer.json()["detail"]
    assert double.refused[0].startswith("InvalidSignatureError")
    assert "github/key" in proxy.daemon.run("status").stdout
