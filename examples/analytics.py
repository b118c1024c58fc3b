"""Analyzes the data of a bot with ten thousand users: aggregations, a `pandas` frame, and a picture.

    pip install -e ".[examples,analytics]" && python examples/analytics.py

It runs offline, on an embedded MongoDB (or the one in MONGODB_URI, where it creates and drops a database). Arguments:
the picture's file, by default `examples/.cache/analytics.png`, and the number of users. See `docs/analytics.md`.
"""

from __future__ import annotations

import asyncio
import secrets
import sys
import time
from itertools import pairwise
from pathlib import Path
from typing import Any

import matplotlib as mpl
import pandas as pd
from crowd import serve_everybody
from matplotlib import pyplot as plt
from matplotlib.axes import Axes
from matplotlib.dates import ConciseDateFormatter
from pymongo import MongoClient
from pymongo.collection import Collection

from ptb_mongo.embedded import mongodb_uri

Users = Collection[dict[str, Any]]

BLUE, ORANGE, GREEN, GREY, INK = "#3d6fb6", "#e08a3c", "#4c9a74", "#c9d6ea", "#2b3440"

BUSY_DAYS: list[dict[str, Any]] = [  # a time series, and its average over a week
    {"$group": {"_id": {"$dateTrunc": {"date": "$updated_at", "unit": "day"}}, "users": {"$sum": 1}}},
    {
        "$setWindowFields": {
            "sortBy": {"_id": 1},
            "output": {"week": {"$avg": "$users", "window": {"range": [-6, 0], "unit": "day"}}},
        }
    },
]
SPENT = "$data.account.state.spent.v"  # an attribute of a dataclass, and a Decimal: a Decimal128 under `v`
BASKETS: list[dict[str, Any]] = [  # how many customers spend how much
    {
        "$bucket": {
            "groupBy": {"$toDouble": SPENT},
            "boundaries": [0, 10, 20, 30, 40, 50, 60, 80],
            "default": 80,
            "output": {"users": {"$sum": 1}},
        }
    },
]
TEAS: list[dict[str, Any]] = [  # the cart is a dict: its keys become values
    {"$project": {"cart": {"$objectToArray": "$data.cart"}}},
    {"$unwind": "$cart"},
    {"$group": {"_id": "$cart.k", "tins": {"$sum": "$cart.v"}}},
    {"$sort": {"tins": 1}},
]
HOURS: list[dict[str, Any]] = [  # the stored Message, as Telegram described it: `view`
    {"$match": {"data.last.view.chat.type": "private"}},
    {"$set": {"sent": {"$toDate": {"$multiply": ["$data.last.view.date", 1000]}}}},
    {"$group": {"_id": {"$hour": {"date": "$sent", "timezone": "Europe/Berlin"}}, "messages": {"$sum": 1}}},
    {"$sort": {"_id": 1}},
]
CUSTOMERS: list[dict[str, Any]] = [  # one flat row for each user, without the pickles
    {
        "$project": {
            "name": "$data.name",
            "language": "$data.last.view.from.language_code",
            "plan": "$data.account.state.plan",
            "spent": {"$toDouble": SPENT},
            "seen": "$updated_at",
        }
    },
]


def frame(users: Users, pipeline: list[dict[str, Any]]) -> pd.DataFrame:
    """The result of a pipeline, as a table."""
    return pd.DataFrame(list(users.aggregate(pipeline))).set_index("_id")


def ask(users: Users) -> pd.DataFrame:
    """Prints what a terminal can show; returns the customers."""
    plans = {"$group": {"_id": "$data.account.state.plan", "users": {"$sum": 1}, "revenue": {"$sum": SPENT}}}
    print("Plans, summed exactly by the server ($group over Decimal128):")
    for row in users.aggregate([plans, {"$sort": {"_id": 1}}]):
        print(f"  {row['_id']:8} {row['users']:6} users {row['revenue'].to_decimal():>12} €")
    beginning = {"data.last.view.text": {"$regex": "^2 x Oolong"}}
    print(f'\nMessages that begin with "2 x Oolong": {users.count_documents(beginning)}')

    users.create_index("updated_at")
    users.create_index("data.account.state.plan")
    premium = users.find({"data.account.state.plan": "premium"}).explain()["queryPlanner"]["winningPlan"]
    print(f"Premium customers are found with {premium['inputStage']['stage']} {premium['inputStage']['indexName']}\n")

    customers = frame(users, CUSTOMERS)
    table = customers.pivot_table(index="language", columns="plan", values="spent", aggfunc=["count", "mean"])
    print(f"A pandas frame of {len(customers)} rows; customers and what they spend, by language:")
    print(table.round(2).to_string())
    return customers


def draw(users: Users, customers: pd.DataFrame, picture: Path) -> None:
    """Draws four results in one picture."""
    mpl.rcParams.update({"font.size": 9, "axes.edgecolor": GREY, "axes.spines.top": False, "axes.spines.right": False})
    titles = {"titlesize": 10.5, "titlelocation": "left", "titlepad": 12, "titlecolor": INK}
    mpl.rcParams.update({f"axes.{name}": value for name, value in titles.items()})
    figure, axes = plt.subplots(2, 2, figsize=(10, 6.2), layout="constrained")
    draw_days(axes[0, 0], frame(users, BUSY_DAYS))
    draw_baskets(axes[0, 1], frame(users, BASKETS))
    teas = frame(users, TEAS)
    bars = axes[1, 0].barh(teas.index, teas["tins"], color=GREEN, height=0.65)
    axes[1, 0].bar_label(bars, fmt="{:,.0f}", padding=4, color=INK)
    axes[1, 0].set(title="Tins sold: keys of the dict data.cart", xticks=[], xlim=(0, teas["tins"].max() * 1.15))
    axes[1, 0].spines["bottom"].set_visible(False)
    hours = frame(users, HOURS)
    axes[1, 1].fill_between(hours.index, hours["messages"], color=GREY, alpha=0.6)
    axes[1, 1].plot(hours.index, hours["messages"], color=BLUE)
    axes[1, 1].set(title="Messages by the hour in Berlin: data.last.view.date", xticks=range(0, 24, 3), ylim=0)
    axes[1, 1].set_xticks(range(0, 24, 3), [f"{hour}:00" for hour in range(0, 24, 3)])
    for ax in axes.flat:
        ax.tick_params(length=0, colors=INK)
    title = f"A tea shop with {len(customers):,} customers, asked with MongoDB's aggregations"
    figure.get_layout_engine().set(h_pad=0.12, w_pad=0.12)
    figure.suptitle(title, fontsize=13, color=INK, x=0.01, ha="left", weight="bold")
    picture.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(picture, dpi=110)
    plt.close(figure)


def draw_days(ax: Axes, days: pd.DataFrame) -> None:
    ax.bar(days.index, days["users"], color=GREY, width=0.8, label="users on that day")
    ax.plot(days.index, days["week"], color=BLUE, linewidth=2, label="average of a week")
    ax.set(title="Last seen: a time series over updated_at")
    ax.xaxis.set_major_formatter(ConciseDateFormatter(ax.xaxis.get_major_locator(), show_offset=False))
    ax.legend(frameon=False, loc="upper left")


def draw_baskets(ax: Axes, baskets: pd.DataFrame) -> None:
    edges = [*baskets.index, None]
    labels = [f"{low}-{high}" if high else f"{low}+" for low, high in pairwise(edges)]
    bars = ax.bar(labels, baskets["users"], color=ORANGE, width=0.75)
    ax.bar_label(bars, fmt="{:,.0f}", padding=2, color=INK)
    ax.set(title="Users by what they spent, in €: $bucket over a dataclass", yticks=[])
    ax.spines["left"].set_visible(False)


def main() -> None:
    picture = Path(sys.argv[1] if sys.argv[1:] else Path(__file__).with_name(".cache") / "analytics.png")
    number = int(sys.argv[2]) if sys.argv[2:] else 10_000
    mpl.use("agg")  # writes to a file, and needs no screen
    with mongodb_uri() as uri, MongoClient[dict[str, Any]](uri, tz_aware=True) as client:
        database = client[f"ptb_mongo_example_{secrets.token_hex(4)}"]
        try:
            started = time.monotonic()
            asyncio.run(serve_everybody(uri, database.name, number))
            print(f"The bot has served {number} customers in {time.monotonic() - started:.1f} s.\n")
            draw(database["user_data"], ask(database["user_data"]), picture)
            print(f"\nThe picture: {picture}")
        finally:
            client.drop_database(database)


if __name__ == "__main__":
    main()
