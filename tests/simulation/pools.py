"""The connections of a client: each command has one to itself, which may be half-open until it is closed."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["Pool", "Wire"]


@dataclass(eq=False, slots=True)
class Wire:
    """A connection.

    Attributes:
        is_mute: Whether it swallows what is sent, and what is answered: no side is told of that.
    """

    is_mute: bool = False


class Pool:
    """The connections of a client, as a driver keeps them: the one that was used last is used next."""

    def __init__(self) -> None:
        self._idle: list[Wire] = []
        self._used: list[Wire] = []

    def take(self) -> Wire:
        """A connection that nobody uses: a new one, if there is none."""
        wire = self._idle.pop() if self._idle else Wire()
        self._used.append(wire)
        return wire

    def give_back(self, wire: Wire, *, works: bool) -> None:
        """A command is over: its connection is closed if it does not work, or the command was given up."""
        self._used.remove(wire)
        if works:
            self._idle.append(wire)

    def be_mute(self, *, every: bool) -> None:
        """Makes connections half-open: all that are open, or the one that would be used next."""
        for wire in self._idle + self._used if every else (self._idle or self._used)[-1:]:
            wire.is_mute = True

    def forget_mute(self) -> None:
        """The other side says that it does not know the connections that are half-open."""
        self._idle = [wire for wire in self._idle if not wire.is_mute]
