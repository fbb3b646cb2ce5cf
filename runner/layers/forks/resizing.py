"""Interp and both layers called Upsample: maps of another size."""

import torch.nn.functional as F

from runner.layers.base import Layer, Tensors, refuse_outside


class Interp(Layer, type="Interp"):
    """Bilinear interpolation with the corners on each other.

    Of DeepLab (Chen et al. 2015) and PSPNet (Zhao et al. 2017). Negative pad_beg and pad_end
    first cut so many rows and columns off. A second bottom only gives the size.
    """

    no_force_backward = (1,)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, p = bottoms[0], self.param.interp_param
        height, width = self.shapes_of(*bottoms).tops[0][2:]
        rows, columns = (slice(-p.pad_beg, size + p.pad_end) for size in x.shape[2:])
        part = x[:, :, rows, columns]
        return [F.interpolate(part, (height, width), mode="bilinear", align_corners=True)]


class Upsample(Layer, type="Upsample"):
    """Unpooling with the mask of a MAX pooling (SegNet, Badrinarayanan et al. 2017).

    Without a mask it is the layer of YOLO v3 (Redmon and Farhadi 2018): every value becomes a
    square of scale x scale.
    """

    no_force_backward = (1,)

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, *masks = bottoms
        top = self.shapes_of(*bottoms).tops[0]
        if not masks:
            return [F.interpolate(x, top[2:], mode="nearest")]
        index = masks[0].detach().long().flatten(2)
        places = top[2] * top[3]
        refuse_outside(
            index,
            places,
            lambda value: (
                f"layer '{self.name}': upsample top index {value} out of range {places}: "
                "check scale settings match the pooling layer's"
            ),
        )
        zeros = x.new_zeros(*top[:2], places)
        return [zeros.scatter(2, index, x.flatten(2)).reshape(top)]
