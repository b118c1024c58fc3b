"""A real `mongod` for the demo, our tests and users' tests: up in a second, gone with the process that started it.

It listens on the loopback interface only and leaves nothing behind, even if the tests crash or the process that
started it is killed by SIGKILL. Do not use it in production: it has no access control, and its data is temporary
unless a folder is given.
"""

from ptb_mongo.embedded.binary import find_mongod
from ptb_mongo.embedded.replica_set import EmbeddedReplicaSet
from ptb_mongo.embedded.server import EmbeddedMongo, mongodb_uri

__all__ = ["EmbeddedMongo", "EmbeddedReplicaSet", "find_mongod", "mongodb_uri"]
