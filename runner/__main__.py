"""`python -m runner` is the `caffe` command."""

import sys

from runner.commands.cli import main

sys.exit(main())
