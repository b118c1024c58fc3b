"""Keeps the documents in memory and those in the database in step: shells with I/O, without rules of their own."""
