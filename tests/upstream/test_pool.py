import hypothesis
import pytest
import trio
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test
from trio.testing import wait_all_tasks_blocked

from proxyd.core.errors import Flag, ProxyError
from proxyd.core.limits import PoolLimits
from proxyd.upstream.pool import Pool, PoolKey, PoolSet

LIMITS = PoolLimits(connections=2, pending=2, idle=60.0, age=3600.0)


class Line:
    """A connection without a socket."""

    def __init__(self, born=0.0):
        self.born = born
        self.idle_since = born
        self.requests = 0
        self.alive = True
        self.asked = 0
        self.closed = 0

    def is_alive(self):
        self.asked += 1
        return self.alive

    def close(self):
        self.closed += 1


def key(address="192.0.2.1", policy="p", configured=False):
    return PoolKey(address, 443, "origin.example", configured, policy)


def make_pool(**limits):
    return Pool(key(), PoolLimits(**{"connections": 2, "pending": 2, **limits}))


def lent(pool, born=0.0):
    """A connection as if it had just been dialled."""
    assert pool.reserve()
    return Line(born)


def test_places_run_out_at_the_limit_and_come_back():
    pool = make_pool()
    assert pool.reserve()
    assert pool.reserve()
    assert not pool.reserve()
    pool.forfeit()
    assert pool.reserve()
    assert repr(pool) == "<Pool 192.0.2.1:443 open=2 idle=0>"


def test_a_connection_released_after_the_request_began_is_asked_like_any_other():
    pool = make_pool()
    line = lent(pool)
    pool.release(line, 10.0)
    line.alive = False
    assert pool.take(9.0) is None
    assert line.closed == 1


def test_the_latest_used_connection_is_taken_first():
    pool = make_pool()
    old, new = lent(pool), lent(pool)
    pool.release(old, 1.0)
    pool.release(new, 2.0)
    assert pool.take(3.0) is new
    assert pool.take(3.0) is old
    assert pool.take(3.0) is None


def test_a_dead_connection_is_closed_and_the_next_tried():
    pool = make_pool()
    alive, dead = lent(pool), lent(pool)
    pool.release(alive, 1.0)
    pool.release(dead, 1.0)
    dead.alive = False
    assert pool.take(2.0) is alive
    assert (dead.closed, pool.open) == (1, 1)


@pytest.mark.parametrize(
    ("limits", "changes", "now"),
    [
        ({"idle": 10.0}, {}, 10.0),
        ({"age": 10.0}, {"born": -9.0}, 1.0),
        ({"requests": 3}, {"requests": 3}, 1.0),
    ],
)
def test_an_idle_connection_past_its_bounds_is_not_taken(limits, changes, now):
    pool = make_pool(**limits)
    connection = lent(pool)
    pool.release(connection, 0.0)
    for name, value in changes.items():
        setattr(connection, name, value)
    assert pool.take(now) is None
    assert (connection.closed, pool.open) == (1, 0)


@pytest.mark.parametrize("now", [0.9, 1.0, 1.4])
def test_a_connection_is_asked_whether_it_lives_however_short_it_was_idle(now):
    pool = make_pool()
    connection = lent(pool)
    pool.release(connection, 1.0)
    assert pool.take(now) is connection
    assert connection.asked == 1


@pytest.mark.parametrize(("requests", "kept"), [(2, True), (3, False)])
def test_a_connection_that_carried_its_requests_is_closed_when_released(requests, kept):
    pool = make_pool(requests=3)
    connection = lent(pool)
    connection.requests = requests
    pool.release(connection, 1.0)
    assert (pool.idle == [connection], pool.open) == (kept, int(kept))
    assert connection.closed == (not kept)


def test_a_sweep_closes_what_is_old_or_was_closed_by_the_other_side():
    pool = make_pool(connections=3, idle=10.0)
    old, dead, good = lent(pool), lent(pool), lent(pool)
    pool.release(old, 0.0)
    pool.release(dead, 5.0)
    pool.release(good, 5.0)
    dead.alive = False
    pool.sweep(10.0)
    assert pool.idle == [good]
    assert (old.closed, dead.closed, good.closed, pool.open) == (1, 1, 0, 1)


def test_a_retired_pool_closes_its_idle_now_and_its_lent_when_they_come_back():
    pool = make_pool()
    idle, busy = lent(pool), lent(pool)
    pool.release(idle, 1.0)
    pool.retire()
    assert (idle.closed, busy.closed, pool.open) == (1, 0, 1)
    pool.release(busy, 2.0)
    assert (busy.closed, pool.open, pool.idle) == (1, 0, [])


async def test_a_released_connection_goes_to_the_longest_waiter(nursery):
    pool = make_pool()
    busy = [lent(pool), lent(pool)]
    got = {}

    async def wait(name):
        got[name] = await pool.wait()

    for name in ("first", "second"):
        nursery.start_soon(wait, name)
        await wait_all_tasks_blocked()
    pool.release(busy[0], 1.0)
    await wait_all_tasks_blocked()
    assert got == {"first": busy[0]}
    pool.discard(busy[1])
    await wait_all_tasks_blocked()
    assert got == {"first": busy[0], "second": None}
    assert pool.open == 2


async def test_a_full_line_refuses_at_once(nursery):
    pool = make_pool(pending=1)
    busy = [lent(pool), lent(pool)]
    nursery.start_soon(pool.wait)
    await wait_all_tasks_blocked()
    with pytest.raises(ProxyError) as caught:
        await pool.wait()
    assert (caught.value.status, caught.value.flag) == (503, Flag.UPSTREAM_OVERFLOW)
    assert len(pool.waiters) == 1
    pool.release(busy[0], 1.0)


async def test_a_cancelled_waiter_leaves_the_line():
    pool = make_pool()
    busy = [lent(pool), lent(pool)]
    with trio.move_on_after(0):
        await pool.wait()
    assert not pool.waiters
    pool.release(busy[0], 1.0)
    assert pool.idle == [busy[0]]


@pytest.mark.parametrize("grant", ["connection", "place"])
@pytest.mark.parametrize("others", [0, 1])
async def test_what_a_cancelled_waiter_was_given_passes_on(nursery, grant, others):
    pool = make_pool()
    now = trio.current_time()
    busy = [lent(pool, now), lent(pool, now)]
    got = []
    scope = trio.CancelScope()

    async def leave():
        with scope:
            got.append(await pool.wait())

    async def stay():
        got.append(await pool.wait())

    nursery.start_soon(leave)
    await wait_all_tasks_blocked()
    for _ in range(others):
        nursery.start_soon(stay)
        await wait_all_tasks_blocked()
    scope.cancel()  # the grant meets a cancellation that was not delivered yet
    if grant == "connection":
        pool.release(busy[0], now)
    else:
        pool.discard(busy[0])
    await wait_all_tasks_blocked()
    expected = busy[0] if grant == "connection" else None
    assert got == [expected] * others
    assert not pool.waiters
    if not others:
        assert (pool.open, pool.idle) == ((2, [expected]) if grant == "connection" else (1, []))


class Machine(RuleBasedStateMachine):
    """Any order of what the router, its waiters, the sweep and a new snapshot do to one pool.

    Rules run in a thread; what touches the pool runs in trio, and every task has settled when a rule returns.
    """

    def __init__(self, nursery):
        super().__init__()
        self.nursery = nursery
        self.pool = Pool(key(), LIMITS)
        self.now = trio.from_thread.run_sync(trio.current_time)
        self.lines = []
        self.lent = []
        self.dialling = 0
        self.line = []
        """Scopes of those who wait, in the order in which they came."""

    def settle(self, act):
        async def settled():
            act()
            await wait_all_tasks_blocked()

        trio.from_thread.run(settled)

    def hold(self, connection):
        if connection is None:
            self.dialling += 1
        else:
            self.lent.append(connection)

    async def stand_in_line(self):
        scope = trio.CancelScope()
        self.line.append(scope)
        try:
            with scope:
                connection = await self.pool.wait()
                assert scope is self.line[0], "first come, first served"
                self.hold(connection)
        except ProxyError:
            assert len(self.line) > LIMITS.pending
        finally:
            self.line.remove(scope)

    @rule()
    def ask(self):
        connection = self.pool.take(self.now)
        if connection is not None:
            assert connection.alive
            self.lent.append(connection)
        elif self.pool.reserve():
            self.dialling += 1
        else:
            self.settle(lambda: self.nursery.start_soon(self.stand_in_line))

    @precondition(lambda self: self.dialling)
    @rule()
    def connect(self):
        self.dialling -= 1
        connection = Line(self.now)
        self.lines.append(connection)
        self.lent.append(connection)

    @precondition(lambda self: self.dialling)
    @rule()
    def fail_to_connect(self):
        self.dialling -= 1
        self.settle(self.pool.forfeit)

    @precondition(lambda self: self.lent)
    @rule(data=st.data(), reusable=st.booleans())
    def give_back(self, data, reusable):
        connection = self.lent.pop(data.draw(st.integers(0, len(self.lent) - 1)))
        if reusable:
            self.settle(lambda: self.pool.release(connection, self.now))
        else:
            self.settle(lambda: self.pool.discard(connection))

    @precondition(lambda self: self.line)
    @rule(data=st.data())
    def leave_the_line(self, data):
        scope = data.draw(st.sampled_from(self.line))
        self.settle(scope.cancel)

    @precondition(lambda self: self.line and self.lent)
    @rule(reusable=st.booleans())
    def leave_the_line_as_the_turn_comes(self, reusable):
        scope = self.line[0]
        connection = self.lent.pop(0)

        def act():
            scope.cancel()
            if reusable:
                self.pool.release(connection, self.now)
            else:
                self.pool.discard(connection)

        self.settle(act)

    @precondition(lambda self: self.pool.idle)
    @rule(data=st.data())
    def die(self, data):
        data.draw(st.sampled_from(self.pool.idle)).alive = False

    @precondition(lambda self: self.pool.idle)
    @rule(seconds=st.sampled_from([1.0, 61.0, 3601.0]))
    def pass_time(self, seconds):
        self.now += seconds

    @precondition(lambda self: self.pool.idle)
    @rule()
    def sweep(self):
        self.pool.sweep(self.now)

    @precondition(lambda self: self.lines)
    @rule()
    def retire(self):
        self.pool.retire()

    @invariant()
    def every_place_is_accounted_for(self):
        pool = self.pool
        assert pool.open == len(pool.idle) + len(self.lent) + self.dialling
        assert 0 <= pool.open <= LIMITS.connections

    @invariant()
    def nobody_waits_while_there_is_something_to_have(self):
        pool = self.pool
        assert len(pool.waiters) == len(self.line) <= LIMITS.pending
        assert not pool.waiters or (pool.open == LIMITS.connections and not pool.idle)

    @invariant()
    def a_connection_is_in_one_place_and_closed_once(self):
        held = [*self.pool.idle, *self.lent]
        assert len(set(map(id, held))) == len(held)
        assert [line.closed for line in self.lines] == [int(line not in held) for line in self.lines]
        assert not (self.pool.retired and self.pool.idle)

    def teardown(self):
        def leave():
            for scope in self.line:
                scope.cancel()

        self.settle(leave)
        assert not self.pool.waiters


async def test_no_order_of_events_loses_a_place_a_waiter_or_a_connection(nursery):
    settings = hypothesis.settings(max_examples=150, stateful_step_count=50, deadline=None)
    await trio.to_thread.run_sync(lambda: run_state_machine_as_test(lambda: Machine(nursery), settings=settings))


def test_a_set_hands_out_one_pool_per_key_and_the_newest_limits_hold():
    pools = PoolSet()
    pool = pools.get(key(), PoolLimits(connections=1))
    assert pools.get(key(), PoolLimits(connections=5)) is pool
    assert pool.limits.connections == 5
    assert pools.get(key("192.0.2.2"), LIMITS) is not pool


def test_another_policy_retires_the_pools_of_the_former():
    pools = PoolSet()
    old, same = pools.get(key(policy="old"), LIMITS), pools.get(key(policy="new"), LIMITS)
    idle = lent(old)
    old.release(idle, 1.0)
    pools.retire_others("new")
    assert (old.retired, idle.closed, same.retired) == (True, 1, False)
    assert pools.get(key(policy="old"), LIMITS) is not old


def test_connections_to_an_endpoint_that_left_are_closed_at_once_and_those_in_use_when_they_come_back():
    pools = PoolSet()
    left = pools.get(key("192.0.2.1", configured=True), LIMITS)
    stays = pools.get(key("192.0.2.2", configured=True), LIMITS)
    resolved = pools.get(key("192.0.2.1", configured=False), LIMITS)
    idle, busy = lent(left), lent(left)
    left.release(idle, 1.0)
    pools.retire_left({("192.0.2.2", left.key.port)})
    assert (left.retired, stays.retired, resolved.retired) == (True, False, False)
    assert (idle.closed, busy.closed) == (1, 0)
    left.release(busy, 2.0)
    assert (busy.closed, left.open) == (1, 0)


def test_pruning_forgets_only_pools_that_hold_nothing():
    pools = PoolSet()
    empty, held = pools.get(key("192.0.2.2"), LIMITS), pools.get(key(), LIMITS)
    lent(held)
    pools.prune()
    assert (empty.retired, held.retired) == (True, False)
    assert pools.get(key(), LIMITS) is held


def test_totals_and_view_describe_every_pool():
    pools = PoolSet()
    pool = pools.get(PoolKey("2001:db8::1", 443, "origin.example", False, "p"), LIMITS)
    plain = pools.get(PoolKey("192.0.2.1", 80, "", False, "p"), LIMITS)
    pool.release(lent(pool), 1.0)
    lent(plain)
    assert pools.totals() == (2, 1)
    both = {"protocol": "http/1.1", "client": None, "waiting": 0, "limit": 2, "open": 1}
    assert pools.view() == [
        {"address": "[2001:db8::1]:443", "tls": "origin.example", "idle": 1, **both},
        {"address": "192.0.2.1:80", "tls": None, "idle": 0, **both},
    ]
