"""The layers of SSD (Liu et al. 2016, arXiv 1512.02325); AnnotatedData is among the data layers."""

from runner.layers.ssd import detection, multibox_loss, prior_box  # noqa: F401  (registers them)
