"""One client's connection to a `proxy`, with the one from there to the server."""

from __future__ import annotations

import asyncio
import enum
from collections.abc import Callable
from typing import Protocol

from wire import Message, read_message


class Mode(enum.Enum):
    """What happens to all traffic; see the methods of `Proxy`."""

    FORWARD = "forward"
    DRIP = "drip"
    STALL = "stall"
    HALF_OPEN = "half_open"
    REFUSE = "refuse"


class Listening:
    """Where a proxy listens, for clients."""

    port: int

    @property
    def host(self) -> str:
        """Address and port for clients."""
        return f"127.0.0.1:{self.port}"

    @property
    def uri(self) -> str:
        """Connection string for clients that are to talk to this one server, through the proxy."""
        return f"mongodb://{self.host}/?directConnection=true"


class Hub(Protocol):
    """What a connection asks its proxy for.

    Attributes:
        mode: What happens to all traffic now.
        moves: Set unless that is a stall.
        chunk: How many bytes drip at a time.
        pause: And the seconds between two drops.
        answer_delay: Seconds by which each answer comes later.
    """

    mode: Mode
    moves: asyncio.Event
    chunk: int
    pause: float
    answer_delay: float

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to the server."""

    async def decide(self, link: Link, request: Message) -> Message | None:
        """What is forwarded of a request, if anything is."""

    async def note_lost(self) -> None:
        """Takes notice of an answer that was lost."""


class Link:
    """A client's connection to the proxy, with the one from there to the server.

    Attributes:
        is_dead: Whether it swallows everything.
        losing: For requests whose answers will be lost, whether the connection is closed then.
        changing: For requests whose answers will be changed, how.
    """

    def __init__(self, hub: Hub, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.is_dead = hub.mode is Mode.HALF_OPEN
        self.losing: dict[int, bool] = {}
        self.changing: dict[int, Callable[[Message], Message]] = {}
        self._hub = hub
        self._reader = reader
        self._writer = writer

    async def run(self) -> None:
        """Forwards until one side closes its connection."""
        try:
            reader, writer = await self._hub.open()
        except OSError:
            self.abort()  # there is no server
            return
        pumps = [asyncio.create_task(self._requests(writer)), asyncio.create_task(self._answers(reader))]
        try:
            await asyncio.wait(pumps, return_when=asyncio.FIRST_COMPLETED)
            self._writer.close()
            writer.close()  # when it has sent what it was given
        except asyncio.CancelledError:
            writer.transport.abort()
            raise
        finally:
            for pump in pumps:
                pump.cancel()
            await asyncio.gather(*pumps, return_exceptions=True)

    def abort(self) -> None:
        """Closes the client's connection."""
        self._writer.transport.abort()

    async def answer(self, answer: Message) -> None:
        """Gives the client an answer that came another way."""
        if not self.is_dead:
            await self._send(self._writer, answer.data)

    async def _requests(self, writer: asyncio.StreamWriter) -> None:
        while (request := await self._next(self._reader)) is not None:
            if not self.is_dead and (forwarded := await self._hub.decide(self, request)) is not None:
                await self._send(writer, forwarded.data)

    async def _answers(self, reader: asyncio.StreamReader) -> None:
        while (answer := await self._next(reader)) is not None:
            await asyncio.sleep(self._hub.answer_delay)
            if (change := self.changing.pop(answer.answers, None)) is not None:
                answer = change(answer)
            close = self.losing.pop(answer.answers, None)
            if close is not None:
                await self._hub.note_lost()
                if close:
                    return
            elif not self.is_dead:
                await self._send(self._writer, answer.data)
        if self.is_dead:
            await asyncio.Event().wait()  # that the server has gone does not reach the client, either

    async def _next(self, reader: asyncio.StreamReader) -> Message | None:
        """The next message, as soon as one may pass; `None` after the last one."""
        try:
            message = await read_message(reader)
        except (EOFError, OSError):
            message = None
        await self._hub.moves.wait()
        return message

    async def _send(self, writer: asyncio.StreamWriter, data: bytes) -> None:
        await self._hub.moves.wait()
        while data:
            size = self._hub.chunk if self._hub.mode is Mode.DRIP else len(data)
            writer.write(data[:size])
            await writer.drain()
            if data := data[size:]:
                await asyncio.sleep(self._hub.pause)
                await self._hub.moves.wait()
