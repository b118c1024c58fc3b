"""The people in the data: erasing somebody, handing out what is stored about them, forgetting those who have left.

One place, `subject`, decides what belongs to a person, for a running bot and for the command line.
"""
