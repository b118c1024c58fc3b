"""The benchmarks: one module for each work that is measured, and what they share."""
