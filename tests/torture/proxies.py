"""A proxy in front of each server of a replica set, for clients and for the other servers, and their adversary."""

from __future__ import annotations

import contextlib
import math
import threading
import time
from collections.abc import Callable, Iterator
from typing import Any, Final

from access import GuardedReplicaSet
from nemesis import Nemesis
from proxy_process import ProxyProcess
from pymongo import MongoClient

_WRITES: Final = ["update", "insert", "delete", "findAndModify", "bulkWrite"]
_DATA: Final = ["user_data", "chat_data", "bot_data", "conversations", "callback_data"]
# What a connection is used for, which is frozen; servers do nothing of this kind among themselves.
_FROZEN: Final = [(["update", "delete"], _DATA), (["find", "aggregate"], _DATA), (["getMore"], ["$cmd.aggregate"])]
_CLIENTS_NOTICE: Final = 2.5  # seconds, in which a client gives a connection up that is silent


@contextlib.contextmanager
def proxied(servers: GuardedReplicaSet) -> Iterator[list[ProxyProcess]]:
    """Starts a proxy for each server, and makes their addresses those of the replica set's members."""
    with contextlib.ExitStack() as stack:
        proxies = [stack.enter_context(ProxyProcess(member.host)) for member in servers.members]
        new = {member.host: proxy.host for member, proxy in zip(servers.members, proxies, strict=True)}
        with MongoClient(servers.primary().host, directConnection=True, **servers.credentials) as client:
            config = client.admin.command("replSetGetConfig")["config"]
            members = [{**member, "host": new[member["host"]]} for member in config["members"]]
            config |= {"version": config["version"] + 1, "members": members}
            client.admin.command("replSetReconfig", config, force=True)
        servers.start()  # returns when all have found together again
        yield proxies


class ProxyNemesis(Nemesis):
    """One who misuses proxies.

    Args:
        servers: The servers.
        proxies: That of each.
        args: See `Nemesis`.
    """

    pause = (0.05, 0.6)

    def __init__(self, servers: GuardedReplicaSet, proxies: list[ProxyProcess], *args: Any) -> None:
        super().__init__(*args)
        self._servers = servers
        self._proxies = proxies

    def _primary(self) -> ProxyProcess:
        return self._proxies[self._servers.members.index(self._servers.primary(timeout=30))]

    def _wait(self, least: float, most: float) -> None:
        time.sleep(self._chance.uniform(least, most))


class RequestNemesis(ProxyNemesis):
    """Loses answers to writes, and delivers writes late or twice; in the end, everything is delivered."""

    def actions(self) -> dict[Callable[[], None], int]:
        """See `Nemesis.actions`."""
        return {self._lose_answers: 3, self._hold: 3, self._duplicate: 1}

    def _apply(self, rule: str, **arguments: Any) -> ProxyProcess:
        """Applies a rule to some of the writes of a moment; drivers try a write twice, bots more often."""
        proxy = self._primary()
        proxy.call(rule, commands=_WRITES, times=self._chance.choice([1, 2, 4, math.inf]), **arguments)
        self._wait(0.2, 1)
        proxy.call("forget_rules", kind=rule)
        return proxy

    def _lose_answers(self) -> None:
        before = sum(proxy.call("lost_answers") for proxy in self._proxies)
        self._apply("lose_answer", close=self._chance.random() < 0.7)
        self._counts["lost answers"] += sum(proxy.call("lost_answers") for proxy in self._proxies) - before

    def _hold(self) -> None:
        self._release(self._apply("hold"), "late requests")

    def _duplicate(self) -> None:
        self._release(self._apply("duplicate"), "requests delivered twice")

    def _release(self, proxy: ProxyProcess, what: str) -> None:
        """Delivers what is held, mostly when its client has given up, and counts what the server has done, too."""
        self._wait(0.5, 4.5)
        try:
            answers = proxy.call("release", timeout=30)
        except RuntimeError:  # the server is down: they went with it
            proxy.call("discard")
            return
        self._counts[what] += len(answers)
        self._counts[f"{what}, done"] += sum(answer["ok"] == 1 and answer.get("n", 1) > 0 for answer in answers)


class TrafficNemesis(ProxyNemesis):
    """Stalls, cuts and slows down all traffic of a server; leaves it undisturbed.

    Args:
        starting: Not held while a server is out of reach.
        args: See `ProxyNemesis`.
    """

    pause = (0.3, 1.5)

    def __init__(self, starting: threading.Lock, *args: Any) -> None:
        super().__init__(*args)
        self._starting = starting

    def actions(self) -> dict[Callable[[], None], int]:
        """See `Nemesis.actions`."""
        return {
            self._stall: 3,
            self._stall_all: 1,
            self._cut: 4,
            self._refuse: 2,
            self._drip: 1,
            self._half_open: 2,
            self._freeze_connections: 4,
            self._delay: 2,
        }

    @contextlib.contextmanager
    def _disturbed(self, what: str, *proxies: ProxyProcess, **arguments: Any) -> Iterator[None]:
        with self._starting:
            for proxy in proxies:
                proxy.call(what, **arguments)
            yield
            for proxy in proxies:
                proxy.call("forward")

    def _stall(self) -> None:
        with self._disturbed("stall", self._primary()):
            self._wait(0.2, 3)
        self._count("stalls")

    def _stall_all(self) -> None:
        with self._disturbed("stall", *self._proxies):
            self._wait(0.2, 2.5)
        self._count("stalls")

    def _cut(self) -> None:
        for proxy in self._chance.choice([[self._primary()], self._proxies]):
            proxy.call("cut")
        self._count("cuts")

    def _refuse(self) -> None:
        proxy = self._primary()
        with self._disturbed("refuse", proxy):
            proxy.call("cut")
            self._wait(0.2, 2)
        self._count("cuts")

    def _drip(self) -> None:
        with self._disturbed("drip", self._primary(), chunk=200, pause=0.005):
            self._wait(0.5, 2)
        self._count("drips")

    def _half_open(self) -> None:
        """Servers would take minutes to give up on one another, so that the connections are cut in the end."""
        proxy = self._primary()
        with self._disturbed("half_open", proxy):
            self._wait(0.2, 2)
        time.sleep(_CLIENTS_NOTICE)
        proxy.call("cut")
        self._count("half-open connections")

    def _freeze_connections(self) -> None:
        """Some connections are never heard of again, and nobody closes them: whoever uses them must notice."""
        proxy, before = self._primary(), sum(proxy.call("frozen") for proxy in self._proxies)
        commands, collections = self._chance.choice(_FROZEN)
        times = self._chance.choice([1, 1, 3])
        proxy.call("freeze", commands=commands, collections=collections, times=times)
        self._wait(0.3, 1.5)
        proxy.call("forget_rules", kind="freeze")
        self._counts["frozen connections"] += sum(proxy.call("frozen") for proxy in self._proxies) - before

    def _delay(self) -> None:
        proxy = self._primary()
        proxy.call("delay", seconds=self._chance.uniform(0.02, 0.4))
        self._wait(0.5, 2)
        proxy.call("delay", seconds=0)
        self._count("slow answers")
