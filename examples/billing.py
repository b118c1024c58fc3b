"""A service that shares the bot's database and knows nothing of the bot: plain PyMongo, one update.

python examples/billing.py mongodb://localhost:27017 tea_shop 1815
"""

from __future__ import annotations

import sys

from pymongo import MongoClient


def main() -> None:
    uri, database, user_id = sys.argv[1:]
    with MongoClient(uri) as client:
        users = client[database]["user_data"]
        users.update_one({"_id": int(user_id)}, {"$set": {"data.plan": "premium"}}, upsert=True)
    print(f"user {user_id} is premium now")


if __name__ == "__main__":
    main()
