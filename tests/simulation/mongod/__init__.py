"""A model of the part of mongod 6.0 that ptb_mongo and those who edit its data use: in memory, pure, deterministic.

It has no clock, no randomness and no I/O: `Mongod.execute` is told the time, and gives what the server would answer.
Documents in it are plain dicts, as BSON decodes them, that nobody changes: an update copies along the changed paths
and shares the rest. So a snapshot costs nearly nothing, and whoever is given a document must not change it.

`tests/integration/test_simulated_server.py` compares it with a real server. What it does not model raises
`NotImplementedError`, rather than answer something that may be wrong.
"""

from mongod.server import Mongod
from mongod.storage import Written
from mongod.values import key

__all__ = ["Mongod", "Written", "key"]
