import pytest
import torch

# Convolutions leave their tops with the channels innermost in memory. A layer above must make
# the same values and gradients of that as of the plain layout.

LAYERS = [
    'type: "Pooling" pooling_param { pool: MAX kernel_size: 3 stride: 2 }',
    'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 }',
    'type: "Pooling" pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 2 }',
    'type: "Pooling" pooling_param { pool: AVE global_pooling: true }',
    'type: "SPP" spp_param { pyramid_height: 2 }',
    'type: "LRN"',
    'type: "LRN" lrn_param { norm_region: WITHIN_CHANNEL }',
    'type: "BatchNorm"',
    'type: "MVN"',
    'type: "Scale" scale_param { filler { type: "gaussian" } axis: 2 num_axes: 2 }',
    'type: "PReLU" prelu_param { filler { type: "uniform" } }',
    'type: "ReLU"',
    'type: "Softmax"',
    'type: "Flatten"',
    'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 2 } }',
    'type: "InnerProduct" inner_product_param { num_output: 2 weight_filler { type: "xavier" } }',
    'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 group: 2 '
    'weight_filler { type: "xavier" } }',
    'type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 2 stride: 2 '
    'weight_filler { type: "xavier" } }',
    'type: "Im2col" convolution_param { kernel_size: 3 }',
    'type: "Tile" tile_param { tiles: 2 }',
    'type: "Reduction" reduction_param { operation: SUMSQ axis: 1 }',
    'type: "ArgMax" argmax_param { top_k: 3 }',
]


@pytest.mark.parametrize("text", LAYERS)
def test_the_layout_in_memory_makes_no_difference(one_layer, text):
    x = torch.randn(2, 4, 5, 6, generator=torch.Generator().manual_seed(0))
    results = []
    for layout in (torch.contiguous_format, torch.channels_last):
        layer = one_layer(text, x.numpy())
        bottom = x.clone().to(memory_format=layout).requires_grad_()
        (top,) = layer.layer.forward([bottom], layer.node.all_arguments())
        result = [top]
        if top.requires_grad:
            (top * torch.linspace(-1, 1, top.numel()).view(top.shape)).sum().backward()
            result += [bottom.grad, layer.net.parameters.grad]
        results.append(result)
    assert len(results[0]) == (1 if "ArgMax" in text else 3)
    for plain, inner in zip(*results, strict=True):
        torch.testing.assert_close(inner, plain, rtol=1e-4, atol=1e-5)


def test_the_mask_of_max_pooling_counts_along_rows_in_any_layout(one_layer):
    x = torch.randn(2, 3, 6, 5, generator=torch.Generator().manual_seed(0))
    text = 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }'
    layer = one_layer(text, x.numpy(), tops=2).layer
    top, mask = layer.forward([x.to(memory_format=torch.channels_last)], [])
    picked = x.flatten(2).gather(2, mask.long().flatten(2))
    assert torch.equal(picked, top.flatten(2))
