"""One bot, several workers: an application that shares its data with those of other processes."""

from ptb_mongo.workers.application import SharedApplication

__all__ = ["SharedApplication"]
