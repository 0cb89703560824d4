"""What all tests share."""

from hypothesis import settings

# How long an example takes depends on who else uses the machine.
settings.register_profile("armillary", deadline=None)
settings.load_profile("armillary")
