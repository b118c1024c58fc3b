"""What a `proxy` does to single requests of some commands: the rules that tests make."""

from __future__ import annotations

from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Any

from proxy_link import Link
from refusals import Refusal, refused, refused_statements
from wire import Message


@dataclass
class _Rule:
    """What is done with the next requests of some commands; it says what is forwarded, if anything is."""

    kind: str
    action: Callable[[Link, Message], Message | None]
    commands: Collection[str]
    collections: Collection[str] | None
    times: float

    def fits(self, request: Message) -> bool:
        return request.command in self.commands and (not self.collections or request.collection in self.collections)


class Rules:
    """The rules, and the requests that are held because of them.

    Attributes:
        lost_answers: How many answers were lost.
        frozen: How many connections were frozen.
    """

    def __init__(self) -> None:
        self.lost_answers = self.frozen = 0
        self._rules: list[_Rule] = []
        self._kept: list[tuple[Link | None, Message]] = []

    def lose_answer(
        self,
        commands: Collection[str],
        times: float = 1,
        *,
        collections: Collection[str] | None = None,
        close: bool = True,
    ) -> None:
        """Forwards requests, swallows their answers, and then closes the connection, or leaves it hanging."""

        def lose(link: Link, request: Message) -> Message:
            link.losing[request.number] = close
            return request

        self._rules.append(_Rule("lose_answer", lose, commands, collections, times))

    def hold(self, commands: Collection[str], times: float = 1, *, collections: Collection[str] | None = None) -> None:
        """Keeps requests back until `release`, also when their clients have gone meanwhile."""

        def keep(link: Link, request: Message) -> None:
            self._kept.append((link, request))

        self._rules.append(_Rule("hold", keep, commands, collections, times))

    def duplicate(
        self, commands: Collection[str], times: float = 1, *, collections: Collection[str] | None = None
    ) -> None:
        """Forwards requests, and holds a copy of each until `release`."""

        def copy(_: Link, request: Message) -> Message:
            self._kept.append((None, request))
            return request

        self._rules.append(_Rule("duplicate", copy, commands, collections, times))

    def freeze(
        self, commands: Collection[str], times: float = 1, *, collections: Collection[str] | None = None
    ) -> None:
        """Keeps the connections on which such requests come, and never forwards anything on them any more."""

        def kill(link: Link, _: Message) -> None:
            link.is_dead = True
            self.frozen += 1

        self._rules.append(_Rule("freeze", kill, commands, collections, times))

    def reject(
        self,
        commands: Collection[str],
        error: dict[str, Any],
        times: float = 1,
        *,
        collections: Collection[str] | None = None,
    ) -> None:
        """Answers requests with an error, which holds a `code` and an `errmsg`; the server does not get them."""
        self._refuse(lambda request: refused(request, error), commands, collections, times)

    def reject_statements(
        self,
        commands: Collection[str],
        errors: Sequence[tuple[Any, dict[str, Any]]],
        times: float = 1,
        *,
        collections: Collection[str] | None = None,
    ) -> None:
        """Answers the statements for some `_id`s with errors; the server gets the rest of each request."""
        self._refuse(lambda request: refused_statements(request, errors), commands, collections, times)

    def forget_rules(self, kind: str = "") -> None:
        """Does away with rules that are not over, those of one method, if it is named; what is held stays so."""
        self._rules = [rule for rule in self._rules if kind and rule.kind != kind]

    def _refuse(self, made: Callable[[Message], Refusal | None], *which: Any) -> None:
        def refuse(link: Link, request: Message) -> Message:
            refusal = made(request)
            if refusal is None:
                return request
            link.changing[request.number] = refusal[1]
            return refusal[0]

        self._rules.append(_Rule("reject", refuse, *which))

    def _applied(self, link: Link, request: Message) -> Message | None:
        """What is left of a request by the first rule that fits."""
        for rule in self._rules:
            if rule.fits(request):
                rule.times -= 1
                self._rules = [rule for rule in self._rules if rule.times > 0]
                return rule.action(link, request)
        return request
