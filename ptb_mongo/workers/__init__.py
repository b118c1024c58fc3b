"""One bot, several workers: an application that shares its data with others like it."""

from ptb_mongo.workers.application import SharedApplication

__all__ = ["SharedApplication"]
