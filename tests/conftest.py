"""Settings that all tests share."""

from deep import PROFILE
from hypothesis import HealthCheck, settings

settings.register_profile("fast", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("deep", parent=settings.get_profile("fast"), max_examples=3000)
settings.load_profile(PROFILE)
