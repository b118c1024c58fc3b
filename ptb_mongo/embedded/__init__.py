"""A real `mongod` for the demo, for our tests and for those of users: up in a second, gone with its process.

It listens on the loopback interface only and leaves nothing behind: not when the tests crash, and not when
the process that started it gets a SIGKILL. It is no way to run a database in production: it has no access
control and, unless a folder is given, its data is temporary.
"""

from ptb_mongo.embedded.binary import find_mongod
from ptb_mongo.embedded.replica_set import EmbeddedReplicaSet
from ptb_mongo.embedded.server import EmbeddedMongo, mongodb_uri

__all__ = ["EmbeddedMongo", "EmbeddedReplicaSet", "find_mongod", "mongodb_uri"]
