"""`MongoJobQueue`: jobs that survive a restart, each run by only one of several workers.

Needs APScheduler, which comes with `pip install "python-telegram-bot[job-queue]"`.
"""

from ptb_mongo.jobs.queue import MongoJobQueue

__all__ = ["MongoJobQueue"]
