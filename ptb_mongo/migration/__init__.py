"""A bot's database without the bot: moving in and out, inspecting and repairing it.

It needs no terminal: the command line shows its results. All writes go through our own codec and driver, and nothing
is overwritten unless that is asked for.
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
