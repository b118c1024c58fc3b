"""What is stored: each scope is one collection, and all are based on `replica.collection`."""
