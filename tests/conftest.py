"""Signals as a terminal leaves them.

A job that a script runs in the background, or under nohup, has SIGINT, SIGQUIT or SIGHUP
ignored, and so would every process that a test starts.
"""

import signal

for number in (signal.SIGINT, signal.SIGQUIT, signal.SIGHUP):
    if signal.getsignal(number) is signal.SIG_IGN:
        usual = signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL
        signal.signal(number, usual)
