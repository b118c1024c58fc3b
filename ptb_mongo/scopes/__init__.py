"""What is stored: each scope is one collection, and all build on `replica.collection`."""
