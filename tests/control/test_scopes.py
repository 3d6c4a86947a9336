"""Tokens for scopes: one question for all who want the same, bounded, and no token service is pestered."""

import json
import random

import pytest
import trio
import trio.testing

from proxyd.control import scopes as module
from proxyd.control.scopes import Scopes
from proxyd.control.tokens import Tokens
from proxyd.core.messages import WantToken
from proxyd.core.settings import TokenSource
from proxyd.telemetry.log import Level, Log
from proxyd.tokens.client import Answer
from proxyd.tokens.errors import TokenError
from proxyd.tokens.flow import Ask

SECRETS = (("user", "hub/user"), ("token", "hub/token"))
SOURCE = TokenSource("token:hub", "hub", "challenge", secrets=SECRETS, realms=("auth.example",))
WANTED = WantToken("token:hub", "repository:a:pull repository:b:pull", "https://auth.example/t?x=1", "r.example")


class Issuer:
    """A token service in place of the client."""

    def __init__(self):
        self.asked = []
        self.status = 200
        self.life = 300

    async def ask(self, url, hosts, **said):
        if not url.startswith("https://auth.example/"):
            raise TokenError("not among the hosts", is_final=True)
        self.asked.append((url, hosts, said))
        await trio.sleep(1)
        body = {"token": f"token-{len(self.asked)}", "expires_in": self.life} if self.status == 200 else {}
        return Answer(self.status, {}, json.dumps(body).encode())


@pytest.fixture
async def lab(nursery):
    return await Lab().open(nursery)


class Lab:
    def __init__(self):
        self.issuer = Issuer()
        self.told = []
        self.published = trio.Event()
        secrets = {"user": b"ada", "token": b"secret"}

        def ask(source):
            return Ask(source, self.issuer, lambda field: secrets[field])

        self.scopes = Scopes(Log("test", level=Level.ERROR), self.publish, ask, random.Random(1))
        self.scopes.configure([SOURCE])

    async def open(self, nursery):
        nursery.start_soon(self.scopes.run)
        await trio.testing.wait_all_tasks_blocked()
        return self

    def publish(self, message):
        self.told.append(message)
        self.published.set()

    async def want(self, message=WANTED, serial=0):
        """Return what workers are told."""
        self.published = trio.Event()
        self.scopes.want(WantToken(message.name, message.scope, message.realm, message.audience, serial))
        await self.published.wait()
        assert list(self.told[-1].values) == [message.secret]
        return self.told[-1].values[message.secret], self.told[-1]


async def test_each_scope_is_a_parameter_and_the_credential_goes_by_basic(lab, autojump_clock):
    assert (await lab.want())[0] == b"token-1"
    ((url, hosts, said),) = lab.issuer.asked
    assert url == (
        "https://auth.example/t?x=1&service=r.example&scope=repository%3Aa%3Apull&scope=repository%3Ab%3Apull"
        "&client_id=proxyd"
    )
    assert hosts == ("auth.example",)
    assert said == {"method": "GET", "headers": {"authorization": "Basic YWRhOnNlY3JldA=="}}


async def test_all_who_want_the_same_share_a_question_and_its_answer(lab, autojump_clock):
    for _ in range(5):
        lab.scopes.want(WANTED)
    value, told = await lab.want()
    assert (value, len(lab.told)) == (b"token-1", 1)
    await trio.sleep(10)
    again, later = await lab.want()  # a worker that has none
    assert (again, len(lab.issuer.asked)) == (b"token-1", 1)
    assert later.serial > told.serial
    assert lab.scopes.count("token:hub") == 1


async def test_what_was_refused_is_fetched_anew_but_not_as_soon_as_it_came(lab, autojump_clock):
    _, told = await lab.want()
    assert (await lab.want(serial=told.serial))[0] == b"token-1"
    await trio.sleep(10)
    assert (await lab.want(serial=lab.told[-1].serial))[0] == b"token-2"


async def test_what_is_over_is_fetched_anew(lab, autojump_clock):
    await lab.want()
    await trio.sleep(lab.issuer.life + 1)
    assert (await lab.want())[0] == b"token-2"


async def test_a_failure_is_said_and_the_service_left_alone_for_a_while(lab, autojump_clock):
    lab.issuer.status = 401
    value, told = await lab.want()
    assert (value, told.why) == (None, "the issuer answered 401")
    await lab.want(serial=told.serial)
    assert len(lab.issuer.asked) == 1
    assert list(lab.scopes.problems) == [
        "a token of hub cannot be had: the issuer answered 401; check the secrets hub/user, hub/token"
    ]
    lab.issuer.status = 200
    lab.scopes.secret_changed("hub/token")
    assert (await lab.want())[0] == b"token-2"
    assert list(lab.scopes.problems) == []


async def test_another_realm_gets_nothing(lab, autojump_clock):
    value, told = await lab.want(WantToken("token:hub", "s", "https://evil.example/t", ""))
    assert (value, told.why, lab.issuer.asked) == (None, "not among the hosts", [])


async def test_another_credential_forgets_what_the_former_one_gave(lab, autojump_clock):
    await lab.want()
    lab.scopes.secret_changed("hub/token")
    assert lab.told[-1].values == {WANTED.secret: None}
    assert (await lab.want())[0] == b"token-2"
    lab.scopes.configure([])
    assert lab.told[-1].values == {WANTED.secret: None}
    lab.scopes.want(WANTED)
    assert lab.scopes.count("token:hub") == 0


async def test_scopes_and_questions_are_bounded(lab, autojump_clock, monkeypatch):
    monkeypatch.setattr(module, "MAX_SCOPES", 4)
    monkeypatch.setattr(module, "MAX_ASKING", 2)
    for number in range(3):
        lab.scopes.want(WantToken("token:hub", str(number), "https://auth.example/t"))
    await trio.sleep(5)
    assert len(lab.issuer.asked) == 2
    for number in range(3, 9):
        await lab.want(WantToken("token:hub", str(number), "https://auth.example/t"))
    assert lab.scopes.count("token:hub") == 4
    with pytest.raises(ValueError, match="too long"):
        lab.scopes.want(WantToken("token:hub", "x" * 1025))
    lab.scopes.want(WantToken("token:other", "x"))


async def test_workers_of_a_generation_that_has_been_succeeded_are_still_answered(nursery, autojump_clock):
    issuer, told = Issuer(), []
    secrets = {"hub/user": b"ada", "hub/token": b"secret"}
    tokens = Tokens(Log("test", level=Level.ERROR), told.append, secrets.get, None)
    tokens.configure([SOURCE])
    tokens._client = issuer
    nursery.start_soon(tokens.run)
    await trio.testing.wait_all_tasks_blocked()
    tokens.is_retired = True
    tokens.want(WANTED)
    await trio.sleep(2)
    assert [message.values for message in told] == [{WANTED.secret: b"token-1"}]
    assert tokens.rows() == [], "there is no token beside those for a scope"
