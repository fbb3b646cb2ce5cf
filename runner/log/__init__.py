"""The log: the one room that knows what a log line looks like, written and read.

`Log` reads a file, of any Caffe, into a `Run` of `Table`s, from which come `Series` to look at;
`read_line` takes a single line apart; `glog` writes. Nothing here needs torch.
"""

from runner.log.lines import Line, Output, at, number, read_line, timeless
from runner.log.reader import Log, LogError, read_logs
from runner.log.tables import Run, Series, Table, json_number, of_net

__all__ = [
    "Line",
    "Log",
    "LogError",
    "Output",
    "Run",
    "Series",
    "Table",
    "at",
    "json_number",
    "number",
    "of_net",
    "read_line",
    "read_logs",
    "timeless",
]
