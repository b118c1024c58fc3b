"""The state of each document, and how changes from two sides are merged: pure, no I/O, no clock."""
