"""Secrets of a Vault or OpenBao, by a double of the documented API and on a virtual clock."""

import pytest
import trio

from proxyd.core.settings import VaultLogin
from tests.lab.openbao import Bao
from tests.vault.outside.conftest import ADDRESS, ROLE, TOKEN, WALL, lent, source, stored, wall


async def test_a_secret_is_read_after_a_login_and_both_are_had_once(lab, autojump_clock):
    lab.bao.put("apps/github", token="ghp_1", user="robot")
    await lab.load(stored("a"), stored("b", field="user"))
    assert (lab.value("a"), lab.value("b")) == (b"ghp_1", b"robot")
    assert lab.bao.paths() == ["POST auth/approle/login", "GET secret/data/apps/github"]
    assert lab.heads[0] == {"x-vault-request": "true"}
    assert lab.heads[1] == {"x-vault-request": "true", "x-vault-token": "hvs.token-1"}


async def test_version_and_time_of_a_secret_are_known(lab, autojump_clock):
    lab.bao.put("apps/github", token="old")
    lab.bao.put("apps/github", token="new")
    await lab.load(stored("a"), stored("b", version=1))
    assert (lab.value("a"), lab.secrets.get("a").version) == (b"new", "2")
    assert (lab.value("b"), lab.secrets.get("b").version) == (b"old", "1")
    assert lab.secrets.get("a").created == 1793613600.123456


async def test_the_first_version_of_the_engine_is_read_without_data(lab, autojump_clock):
    lab.bao.simple["app"] = {"token": "v1"}
    await lab.load(stored("a", "app"), vault=source(kv=1, mount="old"))
    assert lab.value("a") == b"v1"
    assert lab.bao.paths()[-1] == "GET old/app"


async def test_a_namespace_goes_along(lab, autojump_clock):
    lab.bao.namespace = "team-a"
    lab.bao.put("apps/github", token="x")
    await lab.load(stored("a"), vault=source(namespace="team-a"))
    assert lab.value("a") == b"x"


async def test_a_change_is_noticed_after_the_poll(lab, autojump_clock, nursery):
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(poll=60.0))
    nursery.start_soon(lab.secrets.run)
    lab.bao.put("apps/github", token="two")
    state = await lab.heard.receive()
    assert (state.value, state.version) == (b"two", "2")
    assert 54 <= trio.current_time() <= 66


async def test_a_value_is_kept_while_the_vault_is_away_and_questions_become_rare(lab, autojump_clock, nursery):
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(poll=10.0))
    nursery.start_soon(lab.secrets.run)
    lab.bao.fails = 503
    state = await lab.heard.receive()
    assert state.value == b"one"
    assert state.why == "secret a: vault company: vault.example answered 503: sealed, or no active node"
    before = len(lab.bao.asked)
    await trio.sleep(600)
    assert 8 <= len(lab.bao.asked) - before <= 25
    assert lab.value("a") == b"one"
    lab.bao.fails = 0
    lab.bao.put("apps/github", token="two")
    while lab.value("a") != b"two":
        await lab.heard.receive()
    assert lab.why("a") == ""


async def test_a_vault_that_wants_to_be_left_alone_is(lab, autojump_clock, nursery):
    lab.bao.fails, lab.bao.retry_after = 429, "120"
    await lab.load(stored("a"))
    nursery.start_soon(lab.secrets.run)
    await trio.sleep(90)
    assert len(lab.bao.asked) == 1
    await trio.sleep(90)
    assert len(lab.bao.asked) == 2


async def test_a_deleted_version_is_meant_and_a_path_that_is_missing_may_be_a_mistake(lab, autojump_clock, nursery):
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(poll=10.0))
    nursery.start_soon(lab.secrets.run)
    kept = lab.bao.stored.pop("apps/github")
    state = await lab.heard.receive()
    assert state.value == b"one"
    assert "nothing stands there; check path, mount and namespace" in state.why
    lab.bao.stored["apps/github"] = [*kept, None]
    state = await lab.heard.receive()
    assert state.value is None
    assert "was deleted there" in state.why


async def test_without_a_policy_the_path_is_named(lab, autojump_clock):
    lab.bao.tokens[TOKEN] = lab.bao.tokens.get(lab.bao.issue(TOKEN))
    await lab.load(stored("a", "apps/other"), vault=source(VaultLogin("token", secret="vault/token")))
    assert lab.why("a").endswith("secret/data/apps/other: nothing stands there; check path, mount and namespace")
    assert TOKEN not in lab.why("a")


# --- leases -----------------------------------------------------------------------------------------


async def test_fields_of_one_lease_belong_together(lab, autojump_clock):
    await lab.load(lent("user", "username"), lent("password"))
    assert (lab.value("user"), lab.value("password")) == (b"user-1", b"password-1")
    assert list(lab.bao.leases) == ["database/creds/ro/lease-1"]
    assert lab.secrets.get("user").expires == WALL + 3600


async def test_a_lease_is_renewed_after_two_thirds_and_its_value_stays(lab, autojump_clock, nursery):
    lab.bao.lease_ttl = 300
    await lab.load(lent("password"))
    nursery.start_soon(lab.secrets.run)
    await trio.sleep(290)
    renewals = [path for path in lab.bao.paths() if path == "PUT sys/leases/renew"]
    assert len(renewals) == 1
    await trio.sleep(3000)
    assert lab.value("password") == b"password-1"
    assert lab.heard.statistics().current_buffer_used == 0


async def test_what_cannot_be_renewed_is_replaced_before_it_ends(lab, autojump_clock, nursery):
    lab.bao.lease_ttl, lab.bao.leases_renew = 300, False
    await lab.load(lent("user", "username"), lent("password"))
    nursery.start_soon(lab.secrets.run)
    first, second = await lab.heard.receive(), await lab.heard.receive()
    assert 180 <= trio.current_time() <= 210
    assert {first.value, second.value} == {b"user-2", b"password-2"}
    assert "PUT sys/leases/renew" not in lab.bao.paths()


async def test_near_its_last_end_a_lease_is_replaced(lab, autojump_clock, nursery):
    lab.bao.lease_ttl, lab.bao.lease_max = 300, 700
    await lab.load(lent("password"))
    nursery.start_soon(lab.secrets.run)
    state = await lab.heard.receive()
    assert state.value == b"password-2"
    assert trio.current_time() < 700


async def test_a_lease_outlives_an_outage_and_ends_where_it_must(lab, autojump_clock, nursery):
    lab.bao.lease_ttl = 300
    await lab.load(lent("password"))
    nursery.start_soon(lab.secrets.run)
    lab.bao.fails = 503
    while (state := await lab.heard.receive()).value is not None:
        assert state.value == b"password-1"
        assert trio.current_time() < 300
    assert 299 < trio.current_time() < 302
    assert "answered 503" in state.why
    lab.bao.fails = 0
    assert (await lab.heard.receive()).value == b"password-2"


async def test_what_was_lent_to_a_former_login_is_had_anew(lab, autojump_clock, nursery):
    lab.bao.token_ttl, lab.bao.token_max = 300, 700
    await lab.load(lent("password"))
    nursery.start_soon(lab.secrets.run)
    state = await lab.heard.receive()
    assert (state.value, lab.bao.logins) == (b"password-2", 2)
    assert trio.current_time() < 700


async def test_a_reload_asks_for_no_other_lease(lab, autojump_clock):
    await lab.load(lent("password"))
    await lab.load(lent("password"))
    assert lab.value("password") == b"password-1"
    assert lab.bao.logins == 1


async def test_a_stop_gives_everything_back(lab, autojump_clock):
    await lab.load(lent("password"))
    await lab.vaults.aclose()
    assert (lab.bao.tokens, lab.bao.leases, lab.logged) == ({}, {}, [])


async def test_the_users_own_token_is_left_and_its_leases_are_not(lab, autojump_clock):
    lab.bao.issue(TOKEN)
    await lab.load(lent("password"), vault=source(VaultLogin("token", secret="vault/token")))
    await lab.vaults.aclose()
    assert (list(lab.bao.tokens), lab.bao.leases) == ([TOKEN], {})


async def test_a_stop_does_not_wait_for_a_vault_that_is_away(lab, autojump_clock):
    await lab.load(lent("password"))
    lab.bao.fails = 503
    await lab.vaults.aclose()
    assert lab.logged[0][:2] == ("warning", "vault_not_closed")


# --- logins -----------------------------------------------------------------------------------------


async def test_a_login_is_renewed_and_not_made_again(lab, autojump_clock, nursery):
    lab.bao.token_ttl = 600
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"))
    nursery.start_soon(lab.secrets.run)
    await trio.sleep(3600)
    assert lab.bao.logins == 1
    assert lab.bao.paths().count("POST auth/token/renew-self") >= 7


async def test_beyond_its_last_end_a_renewal_is_an_error_and_another_login_is_made(lab, autojump_clock, nursery):
    lab.bao.token_ttl = lab.bao.token_max = 600
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(poll=30.0))
    nursery.start_soon(lab.secrets.run)
    await trio.sleep(500)
    assert (lab.why("a"), lab.bao.logins) == ("", 2)
    assert "POST auth/token/renew-self" in lab.bao.paths()


async def test_an_engine_that_fails_says_why(lab, autojump_clock):
    lab.bao.fails = 500
    await lab.load(lent("password"), vault=source(VaultLogin("token", secret="vault/token")))
    assert "it answered 500 (it does not work)" in lab.why("password")


@pytest.mark.parametrize("change", ["ends", "cannot be renewed", "was revoked"])
async def test_a_login_is_made_again_where_it_must(lab, autojump_clock, nursery, change):
    lab.bao.token_ttl = 600
    lab.bao.tokens_renew = change != "cannot be renewed"
    lab.bao.token_max = 700 if change == "ends" else 1e9
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(poll=30.0))
    nursery.start_soon(lab.secrets.run)
    if change == "was revoked":
        lab.bao.revoke("hvs.token-1")
    lab.bao.put("apps/github", token="two")
    await trio.sleep(710)
    assert (lab.value("a"), lab.why("a")) == (b"two", "")
    assert lab.bao.logins == 2


async def test_kubernetes_reads_the_pods_token_at_every_login(lab, autojump_clock, tmp_path):
    jwt = tmp_path / "token"
    jwt.write_text("jwt.of.pod\n")
    login = VaultLogin("kubernetes", role="proxyd", token_file=str(jwt))
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(login))
    assert lab.value("a") == b"one"
    jwt.write_text("rotated")
    lab.bao.jwt = "rotated"
    lab.bao.revoke("hvs.token-1")
    await lab.load(stored("a"), vault=source(login))
    assert (lab.why("a"), lab.bao.logins) == ("", 2)


async def test_a_refused_login_says_so_and_nothing_of_what_it_sent(lab, autojump_clock):
    lab.values["vault/secret-id"] = b"another-id"
    await lab.load(stored("a"))
    assert lab.value("a") is None
    assert "the login was refused: it answered 400 (invalid credential …)" in lab.why("a")


async def test_a_token_of_the_user_is_looked_at_renewed_and_replaced(lab, autojump_clock, nursery):
    lab.bao.issue(TOKEN, 300)
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(VaultLogin("token", secret="vault/token")))
    nursery.start_soon(lab.secrets.run)
    await trio.sleep(3000)
    assert lab.why("a") == ""
    assert lab.bao.paths().count("POST auth/token/renew-self") >= 10
    lab.values["vault/token"] = lab.bao.issue("hvs.newer").encode()
    await trio.sleep(70)
    assert lab.heads[-1]["x-vault-token"] == "hvs.newer"


async def test_a_token_that_ends_is_told(lab, autojump_clock, nursery):
    lab.bao.issue(TOKEN, 300, renewable=False)
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(VaultLogin("token", secret="vault/token")))
    nursery.start_soon(lab.secrets.run)
    state = await lab.heard.receive()
    assert 300 < trio.current_time() < 370
    assert state.value == b"one"
    assert "it answered 403 (permission denied)" in state.why


async def test_a_login_without_its_secret_says_which(lab, autojump_clock):
    lab.values.clear()
    await lab.load(stored("a"))
    assert lab.why("a").endswith("the secret vault/secret-id, by which proxyd logs in, has no value")


# --- clusters ---------------------------------------------------------------------------------------

OTHER = "https://other.example:8200"


async def test_a_standby_sends_to_the_active_node_and_that_one_is_asked_from_then_on(lab, autojump_clock):
    standby = Bao(trio.current_time, leader=OTHER)
    lab.nodes = {ADDRESS: standby, OTHER: lab.bao}
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(addresses=(ADDRESS, OTHER)))
    assert lab.value("a") == b"one"
    assert len(standby.asked) == 1


async def test_nobody_is_followed_to_a_host_that_is_not_named(lab, autojump_clock):
    lab.bao.leader = "https://evil.example:8200"
    lab.nodes["https://evil.example:8200"] = evil = Bao(trio.current_time)
    await lab.load(stored("a"))
    assert "sends on to an address that the configuration does not name" in lab.why("a")
    assert evil.asked == []


async def test_nodes_that_send_to_each_other_are_given_up(lab, autojump_clock):
    lab.bao.leader = OTHER
    lab.nodes[OTHER] = Bao(trio.current_time, leader=ADDRESS)
    await lab.load(stored("a"), vault=source(addresses=(ADDRESS, OTHER)))
    assert "sends on in a circle" in lab.why("a")


@pytest.mark.parametrize("status", [0, 472, 473, 503])
async def test_the_next_node_is_asked_where_one_does_not_serve(lab, autojump_clock, status):
    lab.nodes = {OTHER: lab.bao}
    if status:
        lab.nodes[ADDRESS] = Bao(trio.current_time, fails=status)
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(addresses=(ADDRESS, OTHER)))
    assert lab.value("a") == b"one"


# --- hostile answers --------------------------------------------------------------------------------

HOSTILE = {
    "nothing": b"",
    "no JSON": b"<html>",
    "a list": b"[]",
    "nested": b"[" * 100_000,
    "data is text": b'{"data": "hunter2"}',
    "data within is a number": b'{"data": {"data": 7}}',
    "a field is a map": b'{"data": {"data": {"token": {"a": 1}}}}',
    "no field": b'{"data": {"data": {}}}',
    "half a pair": b'{"data": {"data": {"token": "\\ud800"}}}',
    "line breaks": b'{"data": {"data": {"token": "a\\nb"}}}',
    "too long": b'{"data": {"data": {"token": "' + b"x" * 70_000 + b'"}}}',
    "too many": b'{"data": {"data": {' + b",".join(b'"f%d": ""' % n for n in range(300)) + b"}}}",
}


@pytest.mark.parametrize("body", HOSTILE.values(), ids=HOSTILE)
async def test_an_answer_that_is_none_keeps_the_value(lab, autojump_clock, nursery, body):
    lab.bao.put("apps/github", token="good")
    await lab.load(stored("a"), vault=source(poll=10.0))
    nursery.start_soon(lab.secrets.run)
    lab.bao.hostile = body
    state = await lab.heard.receive()
    assert state.value == b"good"
    assert state.why.startswith("secret a: ")
    assert len(state.why) < 500
    assert "hunter2" not in state.why


LEASES = {
    "the id is a number": b'{"lease_id": 7, "lease_duration": 60, "data": {"password": "x"}}',
    "a bad id": b'{"lease_id": "a\\nb", "lease_duration": 60, "data": {"password": "x"}}',
    "no duration": b'{"lease_id": "a", "lease_duration": "60", "data": {"password": "x"}}',
    "a negative one": b'{"lease_id": "a", "lease_duration": -1, "data": {"password": "x"}}',
    "an endless one": b'{"lease_id": "a", "lease_duration": 1e999, "data": {"password": "x"}}',
}


@pytest.mark.parametrize("body", LEASES.values(), ids=LEASES)
async def test_a_lease_that_is_none_is_refused(lab, autojump_clock, body):
    lab.bao.hostile = body
    await lab.load(lent("password"))
    assert lab.value("password") is None
    assert "vault company: its answer holds a" in lab.why("password")


async def test_a_login_that_gives_no_token_is_refused(lab, autojump_clock):
    lab.bao.issue = lambda: "bad\r\nx-evil: 1"
    lab.bao._auth = lambda token: {"auth": {"client_token": token, "lease_duration": 60}}
    await lab.load(stored("a"))
    assert lab.why("a").endswith("its answer to the login holds no token")


# --- configurations ---------------------------------------------------------------------------------


async def test_a_vault_that_changes_is_logged_in_to_anew_and_the_former_one_is_given_back(lab, autojump_clock, nursery):
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"))
    lab.nodes[OTHER] = Bao(trio.current_time)
    lab.nodes[OTHER].put("apps/github", token="two")
    await lab.load(stored("a"), vault=source(addresses=(OTHER,)))
    nursery.start_soon(lab.secrets.run)
    await trio.sleep(1)
    assert lab.value("a") == b"two"
    assert lab.bao.tokens == {}


async def test_a_configuration_that_is_not_committed_changes_nothing(lab, autojump_clock, nursery):
    lab.bao.put("apps/github", token="one")
    await lab.load(stored("a"), vault=source(poll=10.0))
    nursery.start_soon(lab.secrets.run)
    await lab.secrets.prepare([stored("a")], (source(addresses=(OTHER,)),))
    lab.bao.put("apps/github", token="two")
    assert (await lab.heard.receive()).value == b"two"


async def test_a_vault_that_hangs_does_not_keep_the_start_waiting(lab, autojump_clock):
    async def never(*_):
        await trio.sleep_forever()

    lab.ask = never
    began = trio.current_time()
    await lab.load(stored("a"), stored("b", "apps/other"))
    assert trio.current_time() - began == 10
    assert lab.why("a").endswith("it has not answered within 10 s")


async def test_a_fault_of_one_vault_is_its_own(lab, autojump_clock):
    async def fault(*_):
        raise KeyError("hunter2")

    lab.ask = fault
    await lab.load(stored("a"))
    assert lab.why("a").endswith("vault company: it cannot be asked: KeyError")


async def test_nothing_is_printed(lab, autojump_clock):
    lab.bao.put("apps/github", token="hunter2")
    await lab.load(stored("a"), lent("password"))
    shown = repr(lab.vaults) + repr(lab.secrets.get("a")) + repr(lab.vaults._used)
    assert "hunter2" not in shown
    assert "secret-id-1" not in shown
    assert wall() >= WALL
    assert ROLE.secret == "vault/secret-id"
