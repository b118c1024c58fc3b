"""The one seam to MongoDB: the only package that tells Motor, PyMongo's async API and mongomock-motor apart.

It moves documents as BSON bytes and does not know what they mean. Every driver error is translated here, and no
error text contains a password.
"""

from ptb_mongo.driver.batches import ByIds, Page, Selection
from ptb_mongo.driver.connecting import connect, database_of
from ptb_mongo.driver.database import Driver
from ptb_mongo.driver.operations import Updated
from ptb_mongo.driver.streams import Events

__all__ = ["ByIds", "Driver", "Events", "Page", "Selection", "Updated", "connect", "database_of"]
