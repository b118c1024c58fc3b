"""Tells whether the tests run in their deep form, which takes hours: `HYPOTHESIS_PROFILE=deep pytest ...`."""

import os

__all__ = ["IS_DEEP", "PROFILE"]

PROFILE = os.environ.get("HYPOTHESIS_PROFILE", "fast")
IS_DEEP = PROFILE == "deep"
