"""What is stored: each scope is one collection, and all share one mechanism (`documents`)."""
