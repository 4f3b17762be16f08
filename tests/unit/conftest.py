"""How many random examples a property has: a few in the loop of the day, many in `make faults`."""

from __future__ import annotations

import hypothesis

from tests.conftest import FULL

hypothesis.settings.register_profile("loop", max_examples=100, deadline=None)
hypothesis.settings.register_profile("full", max_examples=5000, deadline=None)
hypothesis.settings.load_profile("full" if FULL else "loop")
