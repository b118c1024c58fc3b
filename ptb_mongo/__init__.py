"""MongoDB persistence for python-telegram-bot."""

__version__ = "0.1.0"
