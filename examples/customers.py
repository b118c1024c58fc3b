"""Customers who keep coming to the tea shop, to see a bot at work without Telegram.

MONGODB_URI=... DATABASE=tea_shop python examples/customers.py
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import signal

from offline import Person, Telegram

PEOPLE = {1815: "Ada", 1906: "Grace", 1912: "Alan", 1930: "Edsger", 1934: "Margaret", 1939: "Barbara", 1942: "Frances"}
ORDERS = [
    {"Sencha": 2, "Assam": 1},
    {"Earl Grey": 3},
    {"Assam": 4},
    {"Sencha": 1, "Earl Grey": 1},
    {},
    {"Assam": 2, "Sencha": 5, "Earl Grey": 1},
    {"Earl Grey": 2},
]


async def order(person: Person, cart: dict[str, int]) -> None:
    """Puts teas into the cart, one kind after the other."""
    menu = await person.writes("/start")
    for tea, tins in cart.items():
        label = next(label for label in menu.buttons if label.startswith(tea))
        await person.presses(label, menu)
        await person.writes(str(tins))


async def come_in(telegram: Telegram) -> list[Person]:
    """All of them order something, without paying yet."""
    people = [telegram.person(user_id, name) for user_id, name in PEOPLE.items()]
    for person, cart in zip(people, ORDERS, strict=True):
        await order(person, cart)
    return people


async def come_again(people: list[Person], pause: float = 5) -> None:
    """Now and then, one of them adds something to the cart or pays."""
    chance = random.Random(1815)  # noqa: S311  (not a secret)
    while True:
        await asyncio.sleep(pause)
        person = chance.choice(people)
        menu = await person.writes("/start")
        if chance.random() < 1 / 4:
            await person.presses("Pay", menu)
        else:
            await person.presses(chance.choice([label for label in menu.buttons if label != "Pay"]), menu)
            await person.writes(str(chance.randint(1, 3)))


async def main() -> None:
    telegram = Telegram()
    uri, database = os.environ["MONGODB_URI"], os.environ.get("DATABASE", "tea_shop")
    task = asyncio.current_task()
    if task is not None:
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    try:
        await telegram.start_bot(uri, database, save_every=1)
        people = await come_in(telegram)
        print("The customers have come in. Ctrl-C sends them home.", flush=True)
        await come_again(people)
    except asyncio.CancelledError:
        await telegram.stop_bot()
    finally:
        await telegram.kill_bot()


if __name__ == "__main__":
    with contextlib.suppress(KeyboardInterrupt):
        asyncio.run(main())
