"""A net with weights as after training."""

import numpy as np

import runner


def as_trained(param, seed=1):
    """A net whose BatchNorms have statistics, as they have after training."""
    net, draw = runner.Net(param, seed=seed), np.random.default_rng(seed)
    for layer in net.layers:
        blobs = net.params.get(layer.name, [])
        if layer.type == "BatchNorm":
            weight = 7.5
            blobs[0][:] = weight * draw.normal(0, 0.5, blobs[0].shape)
            blobs[1][:] = weight * draw.uniform(0.5, 2, blobs[1].shape)
            blobs[2][:] = weight
        elif layer.type == "Scale":
            for factor in blobs[:1]:
                factor[:] = draw.uniform(0.2, 0.8, factor.shape)
            for bias in blobs[1:]:
                bias[:] = draw.normal(0, 0.2, bias.shape)
    return net
