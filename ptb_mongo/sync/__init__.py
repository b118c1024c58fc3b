"""Synchronises the documents in memory with the database: I/O only; the replicas hold the rules."""
