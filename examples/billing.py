"""A service that shares the bot's database and knows nothing about the bot: plain PyMongo, one update.

python examples/billing.py mongodb://localhost:27017 my_bot 1815
"""

from __future__ import annotations

import sys

from pymongo import MongoClient


def main() -> None:
    uri, database, user_id = sys.argv[1:]
    this_user = {"_id": int(user_id)}
    is_premium = {"$set": {"data.plan": "premium"}}
    with MongoClient(uri) as client:
        client[database]["user_data"].update_one(this_user, is_premium, upsert=True)
    print(f"user_data.update_one({this_user}, {is_premium})")


if __name__ == "__main__":
    main()
