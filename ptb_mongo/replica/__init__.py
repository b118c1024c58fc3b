"""The state of each document, and how the changes of two sides are merged: pure, no I/O, no clock."""
