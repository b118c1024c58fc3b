"""A bot whose users go twenty steps, through conversations inside conversations; and a worker that runs it.

Every update carries the number of its step and a value. What is kept of a step is made of that value and of what
was kept of the step before: who has missed a step, or has seen old data, ends elsewhere. Every handler may run twice
for one update, as updates come again when a worker dies, and the second run changes nothing.

The steps, by their number modulo five: a text; three texts in any order; a press of a button, which enters a room; a
text, which enters a corner of it; a press of a button, which leaves both.
"""

# ruff: noqa: T201
from __future__ import annotations

import asyncio
import itertools
import json
import signal
import sys
import time
import zlib
from dataclasses import dataclass
from typing import Any, Final
from warnings import filterwarnings

from aiohttp import web
from routes import routed
from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import Application, CallbackQueryHandler, ConversationHandler, MessageHandler, TypeHandler, filters
from telegram.warnings import PTBUserWarning

from ptb_mongo import MongoPersistence, PersistenceError, SharedApplication

filterwarnings("ignore", message=r".*CallbackQueryHandler", category=PTBUserWarning)

STEPS: Final = 20
TEXT, THREE_TEXTS, ENTER, CORNER, LEAVE = range(5)
BUTTONS: Final = 3
TEXTS: Final = 3
OVER: Final = "over"
NAMES: Final = ("journey", "room", "corner")


@dataclass(frozen=True)
class Move:
    """What a button stands for."""

    step: int
    value: int


def kind(step: int) -> int:
    return step % 5


def kept_of(before: int, step: int, value: int) -> int:
    """What is kept of a step."""
    return zlib.crc32(f"{before} {step} {value}".encode())


def ends(user: int) -> bool:
    """Whether a user's conversation is over after the last step; others wait for one more."""
    return user % 2 == 0


def steps_of(values: list[list[int]]) -> dict[int, int]:
    """What must be kept of all steps in the end, by the values that the user has given in each."""
    sums = (kept_so_far(step, given) for step, given in enumerate(values))
    chain = itertools.accumulate(sums, lambda before, new: kept_of(before, *new), initial=0)
    return dict(enumerate(itertools.islice(chain, 1, None)))


def kept_so_far(step: int, given: list[int]) -> tuple[int, int]:
    return step, sum(given)


# -- handlers -----------------------------------------------------------------------------------------------


async def goes_on(update: Update, context: Any, step: int, value: int) -> None:
    """What all steps do; the answer has buttons if the next step is a press of one."""
    data = context.user_data.setdefault("steps", {})
    await asyncio.sleep(0)  # a handler that lets others in between reading and writing
    data[step] = kept_of(data.get(step - 1, 0), step, value)
    trace = context.chat_data.setdefault("trace", [])
    if step not in trace:
        trace.append(step)
    if step == STEPS - 1:
        context.bot_data[f"finished {update.effective_user.id}"] = data[step]
        context.bot_data.setdefault("finished", {})[update.effective_user.id] = data[step]
    keyboard = None
    if kind(step + 1) in {ENTER, LEAVE}:
        moves = [InlineKeyboardButton(str(n), callback_data=Move(step + 1, n)) for n in range(BUTTONS)]
        keyboard = InlineKeyboardMarkup([moves])
    await update.effective_chat.send_message(str(step), reply_markup=keyboard)


async def text(update: Update, context: Any) -> int:
    step, value = map(int, update.message.text.split())
    await goes_on(update, context, step, value)
    return step + 1


async def one_of_three(update: Update, context: Any) -> int | None:
    step, number, value = map(int, update.message.text.split())
    given = context.user_data.setdefault("given", {}).setdefault(step, {})
    await asyncio.sleep(0)
    given[number] = value
    if len(given) < TEXTS:
        return None
    await goes_on(update, context, step, sum(given.values()))
    return step + 1


async def enter(update: Update, context: Any) -> str:
    move: Move = update.callback_query.data
    await goes_on(update, context, move.step, move.value)
    return "inside"


async def corner(update: Update, context: Any) -> str:
    step, value = map(int, update.message.text.split())
    await goes_on(update, context, step, value)
    return "cornered"


async def leave(update: Update, context: Any) -> str:
    move: Move = update.callback_query.data
    await goes_on(update, context, move.step, move.value)
    return OVER if move.step == STEPS - 1 and ends(update.effective_user.id) else f"left {move.step}"


async def count(_: Update, context: Any) -> None:
    before = context.user_data.get("count", 0)
    await asyncio.sleep(0)
    context.user_data["count"] = before + 1


async def count_slowly(update: Update, context: Any) -> None:
    before = context.user_data.get("count", 0)
    await update.effective_chat.send_message("begun")
    await asyncio.sleep(0.3)
    context.user_data["count"] = before + 1


async def tally(_: Update, context: Any) -> None:
    """Each update counts; what comes again counts once more, unless it is known to be done."""
    for data in (context.user_data, context.chat_data):
        before = data.get("tally", 0)
        await asyncio.sleep(0)
        data["tally"] = before + 1


async def report_update(update: Update, context: Any) -> None:
    """Nobody wants an update: it comes again, or this worker was told too late of what another has done."""
    user, late = update.effective_user.id, ""
    if session := context.application.persistence.session:
        begun = time.monotonic()
        while time.monotonic() - begun < 1 and not late:
            await asyncio.sleep(0.001)  # the change stream has no event that could be waited for
            if any(session.scopes.conversations.outdated(name, (user, user), read=False) for name in NAMES):
                late = f"; told {time.monotonic() - begun:.3f} s too late"
    print(f"left over: {describe(update)}{late}", flush=True)


async def report_error(update: object, context: Any) -> None:
    print(f"{context.error!r} in {describe(update)}", file=sys.stderr, flush=True)


def describe(update: object) -> str:
    if not isinstance(update, Update) or update.effective_user is None:
        return str(update)
    content = update.callback_query.data if update.callback_query else update.effective_message.text
    return f"update {update.update_id} of {update.effective_user.id}: {content}"


def press(of_kind: int, callback: Any) -> CallbackQueryHandler[Any, Any]:
    return CallbackQueryHandler(callback, pattern=lambda data: isinstance(data, Move) and kind(data.step) == of_kind)


def journey() -> ConversationHandler[Any]:
    left = [f"left {step}" for step in range(STEPS) if kind(step) == LEAVE]
    in_corner = ConversationHandler(
        [MessageHandler(filters.Regex(r"^\d+ \d+$"), corner)],
        {"cornered": [press(LEAVE, leave)]},
        [],
        map_to_parent={state: state for state in (*left, OVER)},
        name="corner",
        persistent=True,
    )
    in_room = ConversationHandler(
        [press(ENTER, enter)],
        {"inside": [in_corner]},
        [],
        map_to_parent={OVER: ConversationHandler.END, **{state: int(state.split()[1]) + 1 for state in left}},
        name="room",
        persistent=True,
    )
    states: dict[object, list[Any]] = {STEPS: []}
    for step in range(1, STEPS):
        if kind(step) == TEXT:
            states[step] = [MessageHandler(filters.Regex(rf"^{step} \d+$"), text)]
        elif kind(step) == THREE_TEXTS:
            states[step] = [MessageHandler(filters.Regex(rf"^{step} \d+ \d+$"), one_of_three)]
        elif kind(step) == ENTER:
            states[step] = [in_room]
    start = MessageHandler(filters.Regex(r"^0 \d+$"), text)
    return ConversationHandler([start], states, [], name="journey", persistent=True)


# -- the worker ---------------------------------------------------------------------------------------------


def application_of(options: dict[str, Any]) -> Application[Any, Any, Any, Any, Any, Any]:
    stores = {"trusted": [Move], "loading": options["loading"], "update_interval": 1, **options.get("stores", {})}
    persistence: Any = MongoPersistence(options["uri"], options["database"], **stores)
    builder = Application.builder().token(options["token"]).base_url(options["base_url"]).arbitrary_callback_data(True)
    if options["shared"] is not None:
        builder = builder.application_class(SharedApplication, options["shared"])
    application = builder.persistence(persistence).updater(None).build()
    application.add_handler(TypeHandler(Update, tally), group=-1)
    application.add_handler(MessageHandler(filters.Text(["count"]), count))
    application.add_handler(MessageHandler(filters.Text(["count slowly"]), count_slowly))
    application.add_handler(journey())
    application.add_handler(TypeHandler(Update, report_update))
    application.add_error_handler(report_error)
    return application


async def work(options: dict[str, Any]) -> None:
    """Listens until SIGTERM; answers 200 when an update is handled and saved."""
    routed(options.get("routes", {}))
    application: Any = application_of(options)
    one_at_a_time = asyncio.Lock()

    async def take(request: web.Request) -> web.Response:
        update = Update.de_json(await request.json(), application.bot)
        application.bot.insert_callback_data(update)
        if options["shared"] is None:
            async with one_at_a_time:
                await application.process_update(update)
            return web.Response()
        if options.get("keeps"):  # what is unsaved, as with PTB's own updater
            await application.process_update(update)
            return web.Response()
        try:
            await application.deliver(update)
        except PersistenceError as error:
            print(f"again: {error!r}", flush=True)
            return web.Response(status=503)
        return web.Response()

    async def alive(_: web.Request) -> web.Response:
        return web.Response()

    stopped = asyncio.Event()
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, stopped.set)
    app = web.Application()
    app.add_routes([web.post("/telegram", take), web.get("/alive", alive)])
    runner = web.AppRunner(app, access_log=None)
    async with application:
        await application.start()
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", options["port"]).start()
        await stopped.wait()
        await runner.cleanup()
        await application.stop()


if __name__ == "__main__":
    # Buttons and trusted classes are stored under the module's name, which is not __main__.
    import journey_bot

    asyncio.run(journey_bot.work(json.loads(sys.argv[1])))
