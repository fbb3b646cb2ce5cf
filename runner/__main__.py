"""`python -m runner` is the `caffe` command."""

import sys

from runner.cli import main

sys.exit(main())
