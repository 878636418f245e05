"""What holds for all tests."""

from hypothesis import settings

# A busy machine is no failure: tests assert what is so, not how long it took to find out.
settings.register_profile("roundabout", deadline=None)
settings.load_profile("roundabout")
