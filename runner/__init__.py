"""Runs Caffe's prototxts: the `caffe` command and its embedded PyTorch engine."""
