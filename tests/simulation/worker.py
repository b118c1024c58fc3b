"""One worker of a bot: its `SharedApplication` runs for real, and only Telegram is missing."""

from __future__ import annotations

import asyncio
import datetime as dtm
from collections.abc import Collection, Mapping, MutableMapping, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any, Final

from mongod import key
from nodes import Document, Node
from process import Process
from standins import AnyState, NoRequest, OrderedPersistence, Telegram
from steps import BOT_ID, CHAT_ID, Step
from telegram import Chat, Message, Update, User
from telegram.ext import Application, BaseHandler, ConversationHandler
from things import Leaves
from turns import Delivery, Posted

from ptb_mongo import SharedApplication
from ptb_mongo.errors import DocumentError, PersistenceError, RefusedError, UnsavedDataError
from ptb_mongo.held_states import state_of

if TYPE_CHECKING:
    from bot import Bot

__all__ = ["Worker"]

_DATE: Final = dtm.datetime(2026, 1, 1, tzinfo=dtm.timezone.utc)
_CHAT: Final = Chat(CHAT_ID, Chat.GROUP)


class _FailsError(Exception):
    """What is done in a turn has failed."""


class _Handler(BaseHandler[Update, Any, None]):
    """Does the steps of updates: of all, or of those that go on with a conversation."""

    def __init__(self, worker: Worker, *, of_conversations: bool) -> None:
        super().__init__(worker.talk if of_conversations else worker.handle)
        self._worker = worker
        self._of_conversations = of_conversations

    def check_update(self, update: object) -> bool:
        assert isinstance(update, Update)
        return not self._of_conversations or self._worker.talks(update)


@cache
def _user(user_id: int) -> User:
    return User(user_id, "Ada", is_bot=False)


class Worker(Process):
    """One life of a worker."""

    persistence: OrderedPersistence
    persistence_class = OrderedPersistence

    def __init__(self, bot: Bot, number: int) -> None:
        self._deliveries: dict[int, Delivery] = {}
        self._current: Delivery | None = None
        self._left: list[Node] = []  # to PTB's next save pass
        super().__init__(bot, number)
        self._make_application()

    def _make_application(self) -> None:
        options = self.options
        sharing = {
            "consistency": "stream" if options.shares == "stream" else "strict",
            "exclusive": options.shares == "exclusive",
            "lease_timeout": options.lease_timeout,
            "once": options.once,
        }
        request = NoRequest()
        bot = Telegram(f"{BOT_ID}:simulated", request=request, get_updates_request=request)
        builder = Application.builder().bot(bot).updater(None).job_queue(None).persistence(self.persistence)
        self.application: SharedApplication[Any, Any, Any, Any, Any, Any] = builder.application_class(
            SharedApplication, sharing
        ).build()
        talking: list[Any] = [_Handler(self, of_conversations=True)]
        self._conversation_handler: ConversationHandler[Any] = ConversationHandler(
            talking, AnyState(), talking, name=self.bot.handler, persistent=True
        )
        self.application.add_handler(_Handler(self, of_conversations=False))
        self.application.add_handler(self._conversation_handler, group=1)
        self.application.add_error_handler(self._note_error)

    # -- what it has in memory ----------------------------------------------------------------------------

    def _be_empty(self) -> None:
        self.keyboards = {}

    @property
    def user_data(self) -> MutableMapping[int, dict[Any, Any]]:  # type: ignore[override]
        return self.application.user_data  # type: ignore[return-value]

    @property
    def chat_data(self) -> MutableMapping[int, dict[Any, Any]]:  # type: ignore[override]
        return self.application.chat_data  # type: ignore[return-value]

    @property
    def bot_data(self) -> dict[Any, Any]:  # type: ignore[override]
        return self.application.bot_data

    def conversation_of(self, user_id: int) -> tuple[int, ...]:
        return CHAT_ID, user_id

    def state(self, user_id: int) -> Any:
        return state_of(self._conversation_handler, self.conversation_of(user_id))

    def _look_at_all(self, user_id: int, why: str) -> Mapping[Document, Leaves]:
        """What handlers of a user's update see; the checker is told of it."""
        seen: dict[Document, Leaves] = {}
        for where in ("user", "chat", "bot"):
            document, obj = self._data(where, user_id)
            seen[document] = self.leaves(document, obj)
        seen[self.conversation(user_id)] = self._leaves_of_state(user_id)
        for document, leaves in seen.items():
            self.world.checker.saw(self, document, leaves, why)
        return seen

    def _leaves_of_state(self, user_id: int) -> Leaves:
        state = self.state(user_id)
        return {} if state is None else {("state",): state}

    # -- start and stop -----------------------------------------------------------------------------------

    async def _initialize(self) -> None:
        await self.application.initialize()
        self._saw_loaded(self.user_data, self.chat_data)
        for user_id in self.world.users:
            document = self.conversation(user_id)
            self.world.checker.saw(self, document, self._leaves_of_state(user_id), "loading")

    def _forget(self) -> None:
        self._make_application()
        super()._forget()

    async def _shut_down(self) -> None:
        await self.application.shutdown()
        self._offered += self._left
        self._left = []

    def reap(self) -> None:
        for call in self.persistence.calls:
            call.close()  # what has not begun

    # -- updates ------------------------------------------------------------------------------------------

    async def update(self, user_id: int, steps: Sequence[Step], pause: float) -> None:
        """An update is delivered to this worker, and never again."""
        await self.take(Posted(next(self.world.update_ids), user_id, steps, pause))

    async def take(self, posted: Posted) -> bool:
        """An update is delivered to this worker; whether it answers with 200."""
        if not self.started or self.stopping:
            return False
        with self._handling(posted.user_id):
            is_done = await self._deliver(posted)
        self.look_at_health()
        return is_done

    async def _deliver(self, posted: Posted) -> bool:
        world, user_id = self.world, posted.user_id
        delivery = Delivery(posted.number, user_id, posted.steps, posted.pause, once=self.options.once)
        posted.attempts.append(delivery)
        documents = [self._data(where, user_id)[0] for where in ("user", "chat", "bot")]
        world.turns.comes(self, delivery, [*documents, self.conversation(user_id)])
        update = Update(delivery.number, message=Message(1, _DATE, _CHAT, from_user=_user(user_id)))
        self._deliveries[id(update)] = delivery
        try:
            await self.application.deliver(update)
        except PersistenceError as error:
            world.note(f"{self} cannot handle update {delivery.number} of {user_id}: {error}")
            self._take_back(user_id)
            return False
        finally:
            del self._deliveries[id(update)]
        again = "" if delivery.runs is not None else ", which it knows to be done"
        world.note(f"{self} has handled update {delivery.number} of {user_id}{again}")
        others = [one for one in posted.attempts if one is not delivery]
        world.turns.returned(self, delivery, self._saved_of(delivery), is_known=any(map(self._is_done, others)))
        self._offered += self._storable_of(delivery.nodes, delivery.spoiled)
        return True

    async def turn(self, user_id: int, steps: Sequence[Step], pause: float, *, fails: bool) -> None:
        """What a job or a web page does to the data of a user and of the chat."""
        if not self.started or self.stopping:
            return
        with self._handling(user_id):
            await self._take_turn(user_id, steps, pause, fails=fails)
        self.look_at_health()

    async def _take_turn(self, user_id: int, steps: Sequence[Step], pause: float, *, fails: bool) -> None:
        world, delivery = self.world, Delivery(0, user_id, steps, pause)
        world.turns.comes(self, delivery, [self._data(where, user_id)[0] for where in ("user", "chat")])
        try:
            async with self.application.turn(user_id=user_id, chat_id=CHAT_ID):
                world.turns.begins(self, delivery, self._look_at_all(user_id, "a refresh"))
                await self._do_steps(delivery)
                delivery.runs = False
                if fails:
                    raise _FailsError
        except (PersistenceError, _FailsError) as error:
            world.note(f"{self} cannot take a turn of {user_id}: {error!r}")
            self._take_back(user_id)
        else:
            world.note(f"{self} has taken a turn of {user_id}")
            world.turns.returned(self, delivery, self._saved_of(delivery))
            self._offered += self._storable_of(delivery.nodes, delivery.spoiled)

    def _saved_of(self, delivery: Delivery) -> list[Node]:
        """What of an update's changes is stored once it is done.

        What was refused for the document's own sake is still tried, and makes no update come again.
        """
        rules = self.world.network.rules
        nodes = self._storable_of(delivery.nodes, delivery.spoiled)
        return [node for node in nodes if not rules.may_have_refused(node.document, node.path)]

    def _is_done(self, delivery: Delivery) -> bool:
        """Whether a delivery, to this worker or another one, has stored all that it has changed."""
        checker = self.world.checker
        return delivery.runs is False and all(checker.is_resolved(node) for node in self._saved_of(delivery))

    def _take_back(self, user_id: int) -> None:
        """What an update has changed that failed is no longer in memory."""
        for where in ("user", "chat", "bot"):
            document, obj = self._data(where, user_id)
            self.world.checker.withdrawn(self, document, self.leaves(document, obj))
        self.world.checker.withdrawn(self, self.conversation(user_id), self._leaves_of_state(user_id))

    def _storable_of(self, nodes: Sequence[Node], spoiled: Collection[Document] = frozenset()) -> list[Node]:
        """Those of some changes for which no error was told."""
        bad = {*self.world.checker.ever_unreadable, *spoiled, *self._spoiled_of(nodes)}
        rules = self.world.network.rules
        told = [
            node for node in nodes if node.document in self.told and rules.may_have_refused(node.document, node.path)
        ]
        return [node for node in nodes if node.document not in bad and node not in told]

    def _spoiled_of(self, nodes: Sequence[Node]) -> set[Document]:
        return {node.document for node in nodes if self.is_spoiled(node.document)}

    def talks(self, update: Update) -> bool:
        """Whether an update starts a conversation, goes on with it, or ends it."""
        delivery = self._deliveries[id(update)]
        states = [what for where, what, *_ in delivery.steps if where == "conversation"]
        return bool(states) and (states[-1] is not None or self.state(delivery.user_id) is not None)

    async def handle(self, update: Update, _: Any) -> None:
        """The handler of all updates."""
        delivery = self._deliveries[id(update)]
        self.world.turns.begins(self, delivery, self._look_at_all(delivery.user_id, "a refresh"))
        await self._do_steps(delivery)
        delivery.runs = self.talks(update)

    async def _do_steps(self, delivery: Delivery) -> None:
        steps = [step for step in delivery.steps if step[0] not in {"conversation", "keyboard"}]
        for number, step in enumerate(steps):
            if number and delivery.pause:
                await asyncio.sleep(max(0, delivery.pause))
            self._current = delivery
            self._do(delivery.user_id, step)
            self._current = None
        delivery.spoiled = self._spoiled_of(delivery.nodes)

    async def talk(self, update: Update, _: Any) -> object:
        """The handler of conversations."""
        delivery = self._deliveries[id(update)]
        (*_, state) = (what for where, what, *_ in delivery.steps if where == "conversation")
        document = self.conversation(delivery.user_id)
        self.world.checker.saw(self, document, self._leaves_of_state(delivery.user_id), "something")
        after: Leaves = {} if state is None else {("state",): state}
        delivery.nodes += self.world.checker.changed(self, document, after)
        delivery.runs = False
        return ConversationHandler.END if state is None else state

    def _do(self, user_id: int, step: Step) -> None:
        if step[1] == "drop":
            if user_id in self.user_data:
                self._drop(user_id)
        else:
            super()._do(user_id, step)

    def _changed(self, document: Document, obj: Any) -> list[Node]:
        nodes = super()._changed(document, obj)
        if self._current is not None:
            self._current.nodes += nodes
        return nodes

    def drop(self, user_id: int) -> None:
        """As a job does, outside of any update."""
        if self.started and not self.stopping and self.may_drop(user_id):
            self._drop(user_id)

    def _drop(self, user_id: int) -> None:
        document = "user_data", key(user_id)
        self._saw(document, self.user_data[user_id], "something")
        self.application.drop_user_data(user_id)
        nodes = self.world.checker.changed(self, document, {}, whole=True)
        (self._left if self._current is None else self._current.nodes).extend(nodes)

    # -- saving -------------------------------------------------------------------------------------------

    async def _save(self) -> None:
        dropped, self._left = self._left, []
        await self.application.update_persistence()
        self._offered += self._storable_of(dropped)
        self.look_at_health()

    async def _note_error(self, _: object, context: Any) -> None:
        error = context.error
        if isinstance(error, (DocumentError, RefusedError, UnsavedDataError)):
            self._failed(error)
            self._offered = self._storable_of(self._offered)
        else:
            self.world.checker.violated("error", f"a handler of {self} has raised {error!r}")
