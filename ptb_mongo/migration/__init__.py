"""A bot's database without the bot: moving in and out, looking at it, repairing it.

No terminal is needed: the command line shows what this package says. Whatever is written goes through the
package's own codec and driver, and nothing is written over unless that is asked for.
"""

from ptb_mongo.migration.data import KINDS, BotData, Kind
from ptb_mongo.migration.database import Database, Stored
from ptb_mongo.migration.dict_json import read_dict
from ptb_mongo.migration.exporting import collect, write_pickle
from ptb_mongo.migration.importing import Importer, Report, Tally
from ptb_mongo.migration.mongopersistence import PeerCollections, read_mongopersistence
from ptb_mongo.migration.pickle_file import PickleSource

__all__ = [
    "KINDS",
    "BotData",
    "Database",
    "Importer",
    "Kind",
    "PeerCollections",
    "PickleSource",
    "Report",
    "Stored",
    "Tally",
    "collect",
    "read_dict",
    "read_mongopersistence",
    "write_pickle",
]
