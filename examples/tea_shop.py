"""The bot of all examples: a tea shop. It is plain python-telegram-bot, and does not know where its data is stored.

Everything that it keeps between two updates is persistent: the customer's cart, and the `Message` that shows it, in
`user_data`; the teas behind the buttons in the callback data cache; and each customer's state in the conversation.
"""

from __future__ import annotations

from dataclasses import dataclass
from decimal import Decimal
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

CHOOSING, AMOUNT = "choosing", "amount"
PREMIUM = Decimal("0.80")  # of the price


@dataclass(frozen=True)
class Tea:
    """The object behind a button of the menu."""

    name: str
    price: Decimal


@dataclass(frozen=True)
class Pay:
    """The object behind the last button."""


TEAS = [Tea("Assam", Decimal("4.50")), Tea("Sencha", Decimal("6.50")), Tea("Earl Grey", Decimal("5.20"))]


def add_handlers(application: Application[Any, Any, Any, Any, Any, Any]) -> None:
    """Makes an application a tea shop; it needs a persistence, and arbitrary callback data."""
    choose_tea = CallbackQueryHandler(choose, pattern=Tea)
    pay_cart = CallbackQueryHandler(pay, pattern=Pay)
    order = ConversationHandler(
        entry_points=[CommandHandler("start", start)],
        states={
            CHOOSING: [choose_tea, pay_cart],
            AMOUNT: [choose_tea, MessageHandler(filters.Regex(r"\A[1-9]\d?\Z"), add_to_cart)],
        },
        fallbacks=[],
        allow_reentry=True,
        name="order",
        persistent=True,
    )
    application.add_handler(order)
    application.add_handler(CommandHandler("cart", show_cart))
    application.add_handler(CallbackQueryHandler(refuse, pattern=InvalidCallbackData))


async def start(update: Update, context: ContextTypes.DEFAULT_TYPE) -> str:
    context.user_data["name"] = update.effective_user.first_name
    context.user_data.setdefault("customer_since", update.message.date)
    teas = [InlineKeyboardButton(f"{tea.name} {tea.price} €", callback_data=tea) for tea in TEAS]
    menu = InlineKeyboardMarkup([teas, [InlineKeyboardButton("Pay", callback_data=Pay())]])
    await update.message.reply_text(f"Welcome, {context.user_data['name']}! Which tea may it be?", reply_markup=menu)
    return CHOOSING


async def choose(update: Update, context: ContextTypes.DEFAULT_TYPE) -> str:
    await update.callback_query.answer()
    tea: Tea = update.callback_query.data  # the very object that was put behind the button
    context.user_data["choice"] = tea
    await update.effective_message.reply_text(f"How many tins of {tea.name}?")
    return AMOUNT


async def add_to_cart(update: Update, context: ContextTypes.DEFAULT_TYPE) -> str:
    tea: Tea = context.user_data.pop("choice")
    cart = context.user_data.setdefault("cart", {})
    cart[tea.name] = cart.get(tea.name, 0) + int(update.message.text)
    text = text_of_cart(context.user_data)
    if "cart_message" in context.user_data:  # sent earlier, perhaps by a process that ended long ago
        context.user_data["cart_message"] = await context.user_data["cart_message"].edit_text(text)
    else:
        context.user_data["cart_message"] = await update.message.reply_text(text)
    return CHOOSING


async def show_cart(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    await update.message.reply_text(text_of_cart(context.user_data))


async def pay(update: Update, context: ContextTypes.DEFAULT_TYPE) -> int:
    await update.callback_query.answer()
    await update.effective_message.reply_text(f"Paid, thank you!\n{text_of_cart(context.user_data)}")
    context.user_data.pop("cart", None)
    context.user_data.pop("cart_message", None)
    return ConversationHandler.END


async def refuse(update: Update, _: ContextTypes.DEFAULT_TYPE) -> None:
    await update.callback_query.answer("This menu is too old: /start", show_alert=True)


def text_of_cart(user_data: dict[Any, Any]) -> str:
    """The cart's contents and price; a premium customer pays less."""
    cart: dict[str, int] = user_data.get("cart", {})
    if not cart:
        return "🛒 nothing yet"
    goods = ", ".join(f"{tins} x {name}" for name, tins in cart.items())
    total = sum((tea.price * cart.get(tea.name, 0) for tea in TEAS), Decimal())
    if user_data.get("plan") == "premium":
        return f"🛒 {goods}\n⭐ premium, 20 % off: {total * PREMIUM:.2f} €"
    return f"🛒 {goods}\ntogether {total:.2f} €"
