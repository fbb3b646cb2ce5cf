from netgen import start

start.begin()

import sys  # noqa: E402

from netgen.cli import main  # noqa: E402

sys.exit(main())
