"""The bot of `jobs_bot.py`, which sends reminders. A stored job refers to its callback by the name of this module."""

from __future__ import annotations

import datetime as dtm
from typing import Any

from telegram import Update
from telegram.ext import Application, CommandHandler, ContextTypes

USAGE = "How many seconds, and what? For instance: /remind 180 take the tea out"


def add_handlers(application: Application[Any, Any, Any, Any, Any, Any]) -> None:
    """Makes an application a reminder bot; it needs a persistence, and a job queue that stores its jobs."""
    application.add_handler(CommandHandler("remind", remind))
    application.add_handler(CommandHandler("list", show))


async def remind(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    try:
        when, what = dtm.timedelta(seconds=float(context.args[0])), " ".join(context.args[1:])
    except (IndexError, ValueError, OverflowError):
        await update.message.reply_text(USAGE)
        return
    context.job_queue.run_once(
        ring, when, data=what, user_id=update.effective_user.id, chat_id=update.effective_chat.id
    )
    await update.message.reply_text(f"In {when}: {what}")


async def ring(context: ContextTypes.DEFAULT_TYPE) -> None:
    """The job's callback: it has the user's data, like a handler."""
    context.user_data["rung"] = context.user_data.get("rung", 0) + 1
    await context.bot.send_message(context.job.chat_id, f"⏰ {context.job.data}")


async def show(update: Update, context: ContextTypes.DEFAULT_TYPE) -> None:
    mine = [job for job in context.job_queue.jobs() if job.user_id == update.effective_user.id]
    lines = [f"{job.next_t:%H:%M:%S} {job.data}" for job in mine]
    await update.message.reply_text("\n".join([*lines, f"{context.user_data.get('rung', 0)} so far"]))
