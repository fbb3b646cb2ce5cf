import sys

from netgen.cli import main

sys.exit(main())
