"""What all tests share."""

import hypothesis

# A busy machine is no failure, and the same code gives the same result. New examples: `--hypothesis-profile exploring`.
hypothesis.settings.register_profile(
    "exploring", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.register_profile("steady", hypothesis.settings.get_profile("exploring"), derandomize=True)
hypothesis.settings.load_profile("steady")
