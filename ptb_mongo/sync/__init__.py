"""Synchronizes the documents in memory with the database: I/O only; the replicas contain the rules."""
