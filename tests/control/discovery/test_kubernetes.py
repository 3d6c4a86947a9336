import random
import ssl

import pytest
import trio
import trustme

from proxyd.control.discovery import kubernetes
from proxyd.control.discovery import watch as watch_module
from proxyd.control.discovery.watch import Watch
from proxyd.core.discovery import Discovery, Slices
from tests.control.discovery.api import Api, bookmark, slice_of


class Looking(Watch):
    """A watch that tells whoever waits of every word."""

    def __init__(self, discovery):
        super().__init__(discovery, trio.Event(), random.Random(1))
        self.word = trio.Event()

    def _tell(self, problems):
        super()._tell(problems)
        self.word.set()
        self.word = trio.Event()

    @property
    def addresses(self):
        return None if self.endpoints is None else [endpoint.host for endpoint in self.endpoints]

    async def until(self, condition):
        with trio.fail_after(10):
            while not condition(self):
                await self.word.wait()


@pytest.fixture
async def api(nursery, monkeypatch):
    monkeypatch.setattr(kubernetes, "GAP_SECONDS", 0.0)
    monkeypatch.setattr(watch_module, "FIRST_RETRY", 0.01)
    monkeypatch.setattr(watch_module, "LONGEST_RETRY", 0.01)
    made = Api()
    await nursery.start(made.run)
    return made


@pytest.fixture
def token(tmp_path):
    path = tmp_path / "token"
    path.write_text("first-token\n")
    return path


@pytest.fixture
def look(api, token, nursery):
    def begin(**options):
        finder = Slices("payments", "shop", options.pop("slice_port", "https"), api.url, str(token), **options)
        made = Looking(Discovery("api", finder))
        nursery.start_soon(kubernetes.follow, finder, made)
        return made

    return begin


async def test_slices_are_listed_page_by_page_and_watched_from_there(api, look):
    api.slices = [slice_of("a", 7, "10.0.0.1"), slice_of("b", 8, "10.0.0.2"), slice_of("c", 9, "10.0.0.3")]
    api.page = 2
    watch = look()
    await watch.until(lambda w: w.addresses == ["10.0.0.1", "10.0.0.2", "10.0.0.3"])
    assert [endpoint.port for endpoint in watch.endpoints] == [8443] * 3
    await api.until(lambda: len(api.asked) == 3)
    first, second, third = api.asked
    assert first == {"labelSelector": "kubernetes.io/service-name=payments", "limit": "500"}
    assert second["continue"] == "2"
    assert (third["watch"], third["resourceVersion"], third["allowWatchBookmarks"]) == ("1", "10", "true")


async def test_events_change_the_list(api, look):
    api.slices = [slice_of("a", 7, "10.0.0.1")]
    watch = look()
    await watch.until(lambda w: w.addresses == ["10.0.0.1"])
    api.send("ADDED", slice_of("b", 11, "10.0.0.2"))
    await watch.until(lambda w: w.addresses == ["10.0.0.1", "10.0.0.2"])
    api.send("MODIFIED", slice_of("a", 12, "10.0.0.9"))
    await watch.until(lambda w: w.addresses == ["10.0.0.2", "10.0.0.9"])
    api.send("DELETED", slice_of("b", 13, "10.0.0.2"))
    await watch.until(lambda w: w.addresses == ["10.0.0.9"])
    api.send("DELETED", slice_of("a", 14))
    await watch.until(lambda w: w.addresses == [])
    assert not watch.problems


async def test_a_watch_that_ends_goes_on_from_the_last_bookmark_without_a_list(api, look):
    watch = look()
    await watch.until(lambda w: w.addresses == [])
    api.send(*bookmark(99))
    api.end_watch()
    await api.until(lambda: len(api.asked) == 3)
    assert [query.get("resourceVersion") for query in api.asked] == [None, "10", "99"]


@pytest.mark.parametrize("as_event", [True, False])
async def test_a_version_that_is_gone_is_listed_again(api, look, as_event):
    api.slices = [slice_of("a", 7, "10.0.0.1")]
    watch = look()
    await watch.until(lambda w: w.addresses == ["10.0.0.1"])
    await api.until(lambda: len(api.asked) == 2)
    api.slices, api.version = [slice_of("z", 70, "10.0.0.7")], 70
    if as_event:
        api.send("ERROR", {"kind": "Status", "code": 410, "reason": "Expired"})
    else:
        api.watch_status = 410
        api.end_watch()
    await watch.until(lambda w: w.addresses == ["10.0.0.7"])
    assert not watch.problems
    api.watch_status = 200


async def test_a_token_that_was_rotated_is_read_again(api, look, token):
    api.slices = [slice_of("a", 7, "10.0.0.1")]
    watch = look()
    await watch.until(lambda w: w.addresses == ["10.0.0.1"])
    await api.until(lambda: len(api.asked) == 2)
    api.token = "second-token"
    api.end_watch()
    await watch.until(lambda w: w.problems == ("the API refuses the token (401)",))
    assert watch.addresses == ["10.0.0.1"], "what was found goes on"
    api.slices = [slice_of("a", 7, "10.0.0.2")]
    token.write_text("second-token")
    await watch.until(lambda w: w.addresses == ["10.0.0.2"])
    assert not watch.problems


@pytest.mark.parametrize(
    ("status", "words"),
    [(403, "needs get, list and watch of endpointslices"), (404, "came with Kubernetes 1.21"), (500, "answers 500")],
)
async def test_a_refusal_says_what_to_do(api, look, status, words):
    api.status = status
    watch = look()
    await watch.until(lambda w: w.problems)
    assert words in watch.problems[0]
    assert "first-token" not in "".join(watch.problems)
    assert watch.addresses is None


@pytest.mark.parametrize(
    "event", [("NONSENSE", {}), ("ADDED", {"metadata": 1}), ("ERROR", {"code": 500}), ("ADDED", None)]
)
async def test_events_that_make_no_sense_are_told_and_the_list_is_made_anew(api, look, event):
    api.slices = [slice_of("a", 7, "10.0.0.1")]
    watch = look()
    await watch.until(lambda w: w.addresses == ["10.0.0.1"])
    api.send(*event)
    await watch.until(lambda w: w.problems)
    assert watch.addresses == ["10.0.0.1"]
    await watch.until(lambda w: not w.problems)


async def test_an_answer_without_an_end_is_refused(api, look, monkeypatch):
    monkeypatch.setattr(kubernetes, "MAX_ANSWER", 1000)
    api.slices = [slice_of(f"s{number}", 7, "10.0.0.1") for number in range(50)]
    watch = look()
    await watch.until(lambda w: w.problems)
    assert "the answer has more than" in watch.problems[0]


async def test_without_a_pod_around_it_the_missing_piece_is_named(monkeypatch, tmp_path, nursery):
    monkeypatch.delenv("KUBERNETES_SERVICE_HOST", raising=False)
    for finder, words in (
        (Slices("payments", "", "https"), "the pod's namespace cannot be read"),
        (Slices("payments", "shop", "https"), "the token cannot be read"),
        (Slices("payments", "shop", "https", token_file=__file__), "KUBERNETES_SERVICE_HOST is not set"),
        (
            Slices("payments", "shop", "https", "https://127.0.0.1:1", __file__, str(tmp_path / "ca.pem")),
            "the CA of the API cannot be read",
        ),
        (Slices("payments", "shop", "https", "http://127.0.0.1:1", __file__), "http://127.0.0.1:1: "),
    ):
        watch = Looking(Discovery("api", finder))
        nursery.start_soon(kubernetes.follow, finder, watch)
        await watch.until(lambda w: w.problems)
        assert words in watch.problems[0]


@pytest.mark.parametrize("is_known", [True, False], ids=["its CA", "another CA"])
async def test_the_api_proves_itself_by_its_ca(nursery, token, tmp_path, is_known):
    authority = trustme.CA()
    (authority if is_known else trustme.CA()).cert_pem.write_to_path(tmp_path / "ca.pem")
    api = Api()
    api.slices = [slice_of("a", 7, "10.0.0.1")]
    api.tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    authority.issue_cert("127.0.0.1").configure_cert(api.tls)
    await nursery.start(api.run)
    finder = Slices("payments", "shop", "https", api.url, str(token), str(tmp_path / "ca.pem"))
    watch = Looking(Discovery("api", finder))
    nursery.start_soon(kubernetes.follow, finder, watch)
    await watch.heard.wait()
    if is_known:
        assert watch.addresses == ["10.0.0.1"]
    else:
        assert "CERTIFICATE_VERIFY_FAILED" in watch.problems[0]
        assert not api.asked, "the token went nowhere"
