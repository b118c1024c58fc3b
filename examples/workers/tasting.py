"""The bot of the workers: a tea tasting. It is plain python-telegram-bot, and knows nothing about workers.

It has a conversation inside another one, and buttons with objects: the hardest things to share between processes. An
update may come twice (see `docs/how-to/several-workers.md`), so nothing here is counted up: each handler writes what it
has learned under the tea's name, and writing it again changes nothing.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from warnings import filterwarnings

from telegram import InlineKeyboardButton, InlineKeyboardMarkup, Update
from telegram.ext import (
    Application,
    CallbackQueryHandler,
    CommandHandler,
    ContextTypes,
    ConversationHandler,
    InvalidCallbackData,
    MessageHandler,
    filters,
)
from telegram.warnings import PTBUserWarning

# The warning says that a conversation belongs to a user in a chat, not to a message, which is what we want.
filterwarnings("ignore", message=r".*CallbackQueryHandler", category=PTBUserWarning)

TEAS = ["Assam", "Darjeeling", "Gyokuro", "Lapsang"]
CHOOSING, STARS, WORD, ALL_TASTED = "choosing", "stars", "word", "all tasted"


@dataclass(frozen=True)
class Cup:
    """The object behind a button with a tea."""

    tea: str


@dataclass(frozen=True)
class Stars:
    """The object behind a button with stars."""

    tea: str
    number: int


def add_handlers(application: Application[Any, Any, Any, Any, Any, Any]) -> None:
    """Makes an application a tea tasting; it needs a persistence, and arbitrary callback data."""
    cup = ConversationHandler(
        entry_points=[CallbackQueryHandler(taste, pattern=Cup)],
        states={
            STARS: [CallbackQueryHandler(give_stars, pattern=Stars)],
            WORD: [MessageHandler(filters.TEXT & ~filters.COMMAND, describe)],
        },
        fallbacks=[],
        map_to_parent={ConversationHandler.END: CHOOSING, ALL_TASTED: ConversationHandler.END},
        name="cup",
        persistent=True,
    )
    tasting = ConversationHandler(
        entry_points=[CommandHandler("start", start)],
        states={CHOOSING: [cup]},
        fallbacks=[],
        name="tasting",
        persistent=True,
    )
    application.add_handler(tasting)
    application.add_handler(CallbackQueryHandler(refuse, pattern=InvalidCallbackData))


async def start(update: Update, context: ContextTypes.DEFAULT_TYPE) -> str:
    context.user_data["name"] = update.effective_user.first_name
    context.user_data["notes"] = {}
    await update.message.reply_text("Which cup first?", reply_markup=cups(context.user_data))
    return CHOOSING


async def taste(update: Update, context: ContextTypes.DEFAULT_TYPE) -> str:
    await update.callback_query.answer()
    cup: Cup = update.callback_query.data  # the very object that was put behind the button, maybe by another worker
    context.user_data["tea"] = cup.tea
    stars = [InlineKeyboardButton("★" * n, callback_data=Stars(cup.tea, n)) for n in range(1, 6)]
    await update.effective_message.reply_text(f"{cup.tea}: how good?", reply_markup=InlineKeyboardMarkup([stars]))
    return STARS


async def give_stars(update: Update, context: ContextTypes.DEFAULT_TYPE) -> str:
    await update.callback_query.answer()
    stars: Stars = update.callback_query.data
    context.user_data["notes"][stars.tea] = {"stars": stars.number}
    await update.effective_message.reply_text(f"{stars.tea}, in a word?")
    return WORD


async def describe(update: Update, context: ContextTypes.DEFAULT_TYPE) -> str | int:
    notes = context.user_data["notes"]
    notes[context.user_data["tea"]]["word"] = update.message.text
    if len(notes) == len(TEAS):
        best = max(notes, key=lambda tea: notes[tea]["stars"])
        await update.message.reply_text(f"Thank you, {context.user_data['name']}! {best} it is.")
        return ALL_TASTED
    await update.message.reply_text("And the next?", reply_markup=cups(context.user_data))
    return ConversationHandler.END


async def refuse(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    await update.callback_query.answer("These cups are empty: /start", show_alert=True)


def cups(user_data: dict[Any, Any]) -> InlineKeyboardMarkup:
    """A button for each tea that has not been tasted yet."""
    left = [tea for tea in TEAS if tea not in user_data["notes"]]
    return InlineKeyboardMarkup([[InlineKeyboardButton(tea, callback_data=Cup(tea)) for tea in left]])
