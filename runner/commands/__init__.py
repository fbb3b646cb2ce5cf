"""The `caffe` command: its flags, and a file for each subcommand, which takes Flags and returns
an exit status. torch is loaded with the subcommand: nothing is imported here.
"""
