"""The people in the data: to erase one, to hand out what is stored of one, to forget those who have gone.

What belongs to a person is decided in one place, `subject`, for a running bot and for the command line.
"""
