"""`python -m tests.fuzz`: the full dose for every adapter; the same options as `tests.fuzz.fuzz_adapters`."""

import sys

from tests.fuzz import fuzz_adapters

sys.exit(fuzz_adapters.main())
