"""A world: bots, services, a network and a server, in which a schedule is played."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import itertools
import logging
import shutil
import tempfile
import uuid
from collections.abc import Coroutine
from contextvars import Context, copy_context
from pathlib import Path
from typing import Any, Final

import bson
from bot import Bot
from checker import Checker
from loop import LIFE, Life, LivelockError, Loop, StuckError
from mongod import Mongod
from network import Network
from process import Process
from redelivery import Redelivery
from refusing import Refusal
from replication import Replication
from schedule import Action, Schedule
from seams import seams
from service import Service
from settling import Settling
from steps import BOT_ID, CHAT_ID, DATABASE
from things import CODEC, LOG, TYPED, Basket, plain_set
from traffic import Fault, Request
from turns import Turns
from validating import Rule
from worker import Worker

from ptb_mongo.errors import DocumentError, RefusedError

__all__ = ["Result", "World", "play"]

_USERS: Final = (1, 2, 3)


class Result:
    """How a schedule went.

    Attributes:
        violation: What is wrong; `None` if nothing is.
        trace: What happened, and when: equal for equal schedules.
        stored: All documents at the end, as BSON.
    """

    def __init__(self, violation: Exception | None, trace: list[tuple[float, str]], stored: bytes) -> None:
        self.violation = violation
        self.trace = trace
        self.stored = stored

    @property
    def kind(self) -> str | None:
        """The violation in a word."""
        return None if self.violation is None else getattr(self.violation, "kind", type(self.violation).__name__)


class World:
    """See the module."""

    def __init__(self, schedule: Schedule, folder: Path, ignored: frozenset[str]) -> None:
        self.schedule = schedule
        self._folder = str(folder)
        self.loop = Loop()
        self.mongod = Mongod(DATABASE)
        strategies = {f"bot{number}": options.on_conflict for number, options in enumerate(schedule.bots)}
        self.checker = Checker(strategies, ignored, self._stop)
        checker = self.checker
        checker.comes_again = schedule.redelivers
        self.turns = Turns(checker)
        self.update_ids = itertools.count(1)
        self.redelivery = Redelivery(self)
        replication = Replication(self.mongod, checker.known, checker.forget) if schedule.rolls_back else None
        self.network = Network(self.loop, self.mongod, str(schedule.seed), self._written, checker.answered, replication)
        self.trace: list[tuple[float, str]] = []
        self.began = self.loop.time()
        self.lives: list[Life] = []
        self.users: dict[int, None] = dict.fromkeys(_USERS)
        self.has_hostile_data = schedule.hostile
        self.bots = [Bot(self, number, options, folder / f"{number}") for number, options in enumerate(schedule.bots)]
        self.services = {name: Service(self, name) for name in ("panel", "billing")}

    def _stop(self, violation: Exception) -> None:
        if self.loop.failure is None and not self.network.closed:
            self.loop.failure = violation

    def note(self, text: str) -> None:
        """Notes what has happened."""
        self.trace.append((self.loop.time() - self.began, text.replace(self._folder, "<folder>")))

    def may_tell(self, error: BaseException) -> bool:
        """Whether a bot may be told that something is not saved."""
        if isinstance(error, RefusedError):
            return self.network.refusals.have_begun
        return isinstance(error, DocumentError) and (self.has_hostile_data or self.may_blame)

    @property
    def may_blame(self) -> bool:
        """Whether documents may have been refused for their own sake, though they can be stored now."""
        return self.network.refusals.have_begun or bool(self.network.rules.all)

    def _written(self, request: Request, changes: Any) -> None:
        self.note(f"{request} has written {', '.join(f'{change.collection} {change.id}' for change in changes)}")
        self.checker.written(request, changes)
        self.turns.written(request, changes)

    # -- processes ----------------------------------------------------------------------------------------

    def run(self, life: Life, coroutine: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        """Runs something in a process."""

        async def checked() -> Any:
            try:
                return await coroutine
            except Exception as error:  # noqa: BLE001  (a bug of the core, or of the simulator)
                self.note(f"{life} has crashed: {error!r}")
                if not self.network.closed:
                    self.checker.violated("crash", f"{life}: {error!r}")

        context = copy_context()
        context.run(LIFE.set, life)
        if life not in self.lives:
            self.lives.append(life)
        task: asyncio.Task[Any] = context.run(self.loop.create_task, checked())
        task.add_done_callback(lambda _: coroutine.close())  # it may be cancelled before it begins
        return task

    def end(self, life: Life) -> None:
        """Nothing of a process runs any more."""
        life.dead = True
        self.loop.freeze(life)

    # -- playing ------------------------------------------------------------------------------------------

    def play(self) -> Result:
        """Plays the schedule."""
        violation: Exception | None = None
        with seams(self.loop, self.network, str(self.schedule.seed)):
            try:
                self.loop.run_until_complete(self._play())
            except Exception as error:  # noqa: BLE001  (a violation, or a fault of the simulator: both are to be seen)
                violation = error
            finally:
                self._reap()
        return Result(violation, sorted([*self.trace, *self.network.log]), self._all_documents())

    def _all_documents(self) -> bytes:
        names = ("user_data", "chat_data", "bot_data", "conversations", "callback_data")
        return b"".join(bson.encode(document) for name in names for document in self.mongod.documents(name).values())

    async def _play(self) -> None:
        self._fill()
        for bot in self.bots:
            bot.begin()
        await asyncio.sleep(0.3)
        for action in self.schedule.actions:
            await self._act(action)
        await Settling(self).settle()

    def _fill(self) -> None:
        user = {
            "a": "a0",
            "n": {"x": "x0", "y": "y0"},
            "tags": plain_set(["t1", "t2"]),
            "log": list(LOG),
            "c%2Ed": "c0",
            "m": {"k": "m0"},
            "deq": CODEC.encode({"x": TYPED["deq"](1)})["x"],
            "count": 1,
        }
        documents = {
            "user_data": {1: user, 2: {"b": "b0", "basket": CODEC.encode({"x": _basket()})["x"]}},
            "chat_data": {CHAT_ID: {"a": "a0", "n": {"x": "x0"}, "log": user["log"]}},
            "bot_data": {BOT_ID: {"a": "a0", "tags": user["tags"], "n": {"x": "x0"}}},
        }
        for collection, by_id in documents.items():
            if not self.schedule.sets:
                for data in by_id.values():
                    data.pop("tags", None)
            made = [{"_id": number, "data": data} for number, data in by_id.items()]
            before = len(self.mongod.history)
            self.mongod.execute({"insert": collection, "documents": made}, self.network.now())
            self.checker.edited("the start", self.mongod.history[before:])

    async def _act(self, action: Action) -> None:
        name, *more = action
        if name == "turns":
            for _ in range(more[0]):
                await asyncio.sleep(0)
            return
        if name == "wait":
            await asyncio.sleep(more[0])
            return
        self.note(" ".join(map(str, action)))
        network = self.network
        happens = {
            "freeze server": network.freeze,
            "fail over": network.fail_over,
            "roll back": network.roll_back,
            "slow replication": network.replicate_in,
            "slow stream": network.delay_events,
        }
        if name in happens:
            happens[name](more[0])
        elif name == "refuse":
            target, code, seconds, *which = more
            network.refusals.begin(Refusal(target, code, self.loop.time() + seconds, *which))
        elif name == "rule":
            self._begin_rule(*more)
        elif name == "edit":
            service, collection, document_id, edit = more
            if collection == "user_data":
                self.users[document_id] = None
            self.services[service].edit(collection, document_id, edit)
        elif more[0] < len(self.bots):
            self._act_on(self.bots[more[0]], name, more[1:])

    def _begin_rule(self, collection: str, name: str, parity: int | None, seconds: float) -> None:
        self.network.rules.begin(Rule(collection, name, parity, self.loop.time() + seconds))

    def _act_on(self, bot: Bot, name: str, more: list[Any]) -> None:  # noqa: C901, PLR0912  (a dispatch)
        process = bot.process
        if process is None or process.dead:
            return
        link = self.network.link(process)
        match name, *more:
            case "update", user, steps, pause:
                self.users[user] = None
                if self.schedule.redelivers:
                    self.redelivery.post(bot.number, user, steps, pause)
                else:
                    bot.run(process.update(user, steps, pause))
            case "turn", user, steps, pause, fails if isinstance(process, Worker):
                self.users[user] = None
                bot.run(process.turn(user, steps, pause, fails=fails))
            case ("save",):
                bot.run(process.save())
            case "drop", user:
                if process.runs:
                    process.drop(user)
            case "fault", *fault:
                link.faults.append(Fault(*fault))
            case "deaf", seconds:
                link.dead_until = self.loop.time() + seconds
            case ("reset",):
                self.network.reset(process)
            case "half open", every:
                self.network.be_half_open(process, every=every)
            case "freeze", seconds:
                self.loop.freeze(process)
                self.loop.call_later(seconds, self._thaw, process)
            case "kill", seconds:
                bot.kill()
                self.loop.call_later(seconds, self._begin, bot)
            case "stop", seconds:
                if process.started and not process.stopping:
                    process.stopping = True
                    bot.run(self._stop_bot(bot, process, seconds))
            case "restart", seconds, anew:
                if process.started and not process.stopping:
                    process.stopping = True
                    bot.run(self._restart(process, seconds, anew=anew))
            case ("count users",):
                bot.run(process.count_users())
            case ("flush",):
                bot.run(process.flush())
            case _:
                raise NotImplementedError(name)

    def _thaw(self, process: Process) -> None:
        if not process.dead:
            self.loop.thaw(process)

    def _begin(self, bot: Bot) -> None:
        if bot.process is None:
            bot.begin()

    async def _stop_bot(self, bot: Bot, process: Process, seconds: float) -> None:
        await process.stop()
        self.note(f"{process} has stopped")
        bot.process = None
        self.end(process)
        self.loop.call_later(seconds, self._begin, bot, context=_outside())

    async def _restart(self, process: Process, seconds: float, *, anew: bool) -> None:
        """One persistence is used for another life: of the same application, or of a new one if all was saved."""
        is_saved = await process.stop()
        process.started = False
        self.note(f"{process} has stopped, and starts again")
        await asyncio.sleep(seconds)
        await process.start_again(anew=anew and is_saved)

    # -- the end ------------------------------------------------------------------------------------------

    def _reap(self) -> None:
        """Ends all tasks, so that nothing runs when the world is forgotten."""
        self.loop.failure = None
        self.network.closed = True
        for life in self.lives:
            self.loop.thaw(life)
        with contextlib.suppress(StuckError, LivelockError):
            self.loop.run_until_complete(self._end_tasks())
        for life in self.lives:
            life.reap()
        self.loop.close()

    async def _end_tasks(self) -> None:
        for _ in range(10):
            tasks = [task for life in self.lives for task in life.tasks if not task.done()]
            if not tasks:
                return
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks, timeout=5)


def _outside() -> Any:
    return Context()


def _basket() -> Any:
    return Basket("total0", {"tea": "i0"})


def play(schedule: Schedule, ignored: frozenset[str] = frozenset()) -> Result:
    """Plays a schedule in a world of its own."""
    folder = Path(tempfile.gettempdir()) / f"ptb_mongo-simulation-{uuid.uuid4().hex}"
    logger = logging.getLogger("ptb_mongo")
    level = logger.level
    logger.setLevel(logging.CRITICAL + 1)
    collects = gc.isenabled()
    gc.disable()
    try:
        return World(schedule, folder, ignored).play()
    finally:
        if collects:
            gc.enable()
        logger.setLevel(level)
        shutil.rmtree(folder, ignore_errors=True)
