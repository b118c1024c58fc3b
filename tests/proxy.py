"""A TCP proxy in front of a `mongod` that disturbs the traffic: stalls it, cuts it, loses an answer, holds a request.

It decides nothing by itself or by chance, and knows nothing about bots. `proxy_process` runs it in a separate process.

    async with Proxy(server.host) as proxy:
        client = AsyncMongoClient(proxy.uri)
        proxy.lose_answer({"update"})  # the next update is carried out, but the client never learns of it
        ...
        await proxy.lost()
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Final

from proxy_link import Link, Listening, Mode
from proxy_rules import Rules
from wire import Message, read_message

if TYPE_CHECKING:
    from typing_extensions import Self  # of no use, and perhaps not there, at run time


_TURNS: Final = 10  # of the event loop, after which it has brought all connections that it had accepted already


class Proxy(Rules, Listening):
    """The proxy; a context manager that listens while it is entered.

    What changes its behaviour takes effect at once. Rules are for requests that come later, and are tried in the order
    in which they were made; each is over after so many `times`. `commands` are MongoDB's names, as in
    {"update", "insert"}, and `collections` restrict a rule further.

    Args:
        target: Host and port of the server.
        port: Where to listen on the loopback interface; by default, on a free port.

    Attributes:
        port: Where it listens, as soon as it does.
        commands: How many requests of each command were forwarded.
        lost_answers: How many answers were lost.
        frozen: How many connections were frozen.
        mode: What happens to all traffic now.
    """

    def __init__(self, target: str, port: int = 0) -> None:
        super().__init__()
        self.commands: Counter[str] = Counter()
        self.mode = Mode.FORWARD
        self.chunk, self.pause, self.answer_delay = 1, 0.0, 0.0
        self.moves = asyncio.Event()  # cleared during a stall
        self.moves.set()
        self.target = target
        self.port = port
        self._links: dict[Link, asyncio.Task[None]] = {}
        self._releasing = asyncio.Lock()
        self._noted = asyncio.Condition()

    async def __aenter__(self) -> Self:
        self._listener = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._listener.sockets[0].getsockname()[1]
        return self

    async def __aexit__(self, *_: object) -> None:
        # A connection that is accepted just before its server is closed would be left open by asyncio.
        for listening in self._listener.sockets:
            asyncio.get_running_loop().remove_reader(listening.fileno())
        self.refuse()
        for _ in range(_TURNS):
            await asyncio.sleep(0)
        self._listener.close()
        tasks = [*self._links.values()]
        self.cut()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._listener.wait_closed()
        for _ in range(_TURNS):  # what was aborted is closed a turn later
            await asyncio.sleep(0)

    # -- what happens to all traffic ---------------------------------------------------------------------

    def forward(self) -> None:
        """Forwards everything again."""
        self._set(Mode.FORWARD)

    def stall(self) -> None:
        """Forwards nothing in either direction until the mode changes.

        What a client has sent arrives then, even if it has given up and closed its connection.
        """
        self._set(Mode.STALL)

    def drip(self, chunk: int = 64, pause: float = 0.01) -> None:
        """Forwards `chunk` bytes, pauses for so many seconds, and so on."""
        self.chunk, self.pause = chunk, pause
        self._set(Mode.DRIP)

    def half_open(self) -> None:
        """Takes everything and forwards nothing; connections that are there meanwhile stay dead for good."""
        self._set(Mode.HALF_OPEN)
        for link in self._links:
            link.is_dead = True

    def refuse(self) -> None:
        """Closes new connections at once; those that are open go on."""
        self._set(Mode.REFUSE)

    def cut(self) -> None:
        """Closes all connections, with what is on its way in them; the mode stays."""
        for task in self._links.values():
            task.cancel()

    def delay(self, seconds: float) -> None:
        """Forwards each answer so much later, until told otherwise."""
        self.answer_delay = seconds

    # -- requests that are held ----------------------------------------------------------------------------

    async def release(self) -> list[dict[str, Any]]:
        """Delivers what is held, the oldest first, each on a connection of its own; the server's answers.

        A client that still waits gets its answer. What cannot be delivered, and what comes after it, is still held.
        """
        answers = []
        async with self._releasing:
            while self._kept:
                link, request = self._kept[0]
                answer = await self._deliver(request)
                del self._kept[0]
                if answer is not None:
                    answers.append(answer.body)
                    if link in self._links:
                        await link.answer(answer)
        return answers

    async def discard(self) -> None:
        """Forgets what is held."""
        async with self._releasing:
            self._kept.clear()

    # -- what can be waited for --------------------------------------------------------------------------

    async def held(self, count: int = 1) -> None:
        """Waits until so many requests are held."""
        await self._until(lambda: len(self._kept) >= count)

    async def lost(self, count: int = 1) -> None:
        """Waits until so many answers were lost in all: the server has carried out what they answer."""
        await self._until(lambda: self.lost_answers >= count)

    async def forwarded(self, command: str, count: int = 1) -> None:
        """Waits until so many requests of a command were forwarded in all."""
        await self._until(lambda: self.commands[command] >= count)

    # -- for its connections -----------------------------------------------------------------------------

    async def open(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A new connection to the server."""
        return await asyncio.open_connection(*self.target.rsplit(":", 1))

    async def decide(self, link: Link, request: Message) -> Message | None:
        """What is forwarded of a request, if anything is."""
        forwarded = self._applied(link, request)
        self.commands[request.command] += forwarded is not None
        await self._note()
        return forwarded

    async def note_lost(self) -> None:
        """Counts an answer that was lost."""
        self.lost_answers += 1
        await self._note()

    async def _deliver(self, request: Message) -> Message | None:
        reader, writer = await self.open()
        try:
            writer.write(request.data)
            await writer.drain()
            return await read_message(reader) if request.wants_answer else None
        finally:
            writer.close()

    def _set(self, mode: Mode) -> None:
        self.mode = mode
        if mode is Mode.STALL:
            self.moves.clear()
        else:
            self.moves.set()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self.mode is Mode.REFUSE:
            writer.transport.abort()
            return
        link = Link(self, reader, writer)
        self._links[link] = task = asyncio.create_task(link.run())
        task.add_done_callback(lambda task: self._ended(link, task))

    def _ended(self, link: Link, task: asyncio.Task[None]) -> None:
        del self._links[link]
        if task.cancelled():  # perhaps before it began
            link.abort()

    async def _note(self) -> None:
        async with self._noted:
            self._noted.notify_all()

    async def _until(self, is_so: Callable[[], bool]) -> None:
        async with self._noted:
            await self._noted.wait_for(is_so)
