"""`python -m snnjax`."""

import sys

from snnjax.app.cli import main

sys.exit(main())
