"""Jobs that survive a restart, and run once among all workers: `MongoJobQueue`.

Needs APScheduler, which comes with `pip install "python-telegram-bot[job-queue]"`.
"""

from ptb_mongo.jobs.queue import MongoJobQueue

__all__ = ["MongoJobQueue"]
