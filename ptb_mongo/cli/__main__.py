"""`python -m ptb_mongo.cli`."""

from ptb_mongo.cli import main

main()
