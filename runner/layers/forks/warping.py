"""FlowWarp, MaskResize, ROIWarping: values from between the places of a map."""

import torch

from netgen import graph
from runner.layers.base import Layer, Tensors
from runner.layers.forks.regions import rounded
from runner.layers.gradient import custom_gradient


class FlowWarp(Layer, type="FlowWarp"):
    """Each pixel of the image from where its flow points, bilinearly (FlowNet 2.0, Ilg et al. 2017).

    What comes from outside the image is 0, and so is its gradient.
    """

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        image, flow = bottoms
        height, width = image.shape[2:]
        x = torch.arange(width, device=image.device) + flow[:, 0]
        y = torch.arange(height, device=image.device)[:, None] + flow[:, 1]
        inside = (x >= 0) & (y >= 0) & (x < width) & (y < height)
        x, y = (torch.where(inside, at, torch.zeros_like(at)) for at in (x, y))
        left, above = x.detach().floor().long(), y.detach().floor().long()
        right, below = (left + 1).clamp(max=width - 1), (above + 1).clamp(max=height - 1)
        flat = image.flatten(2)

        def at(row: torch.Tensor, column: torch.Tensor) -> torch.Tensor:
            index = (row * width + column).flatten(1)[:, None].expand(-1, image.shape[1], -1)
            return flat.gather(2, index).view(image.shape)

        a, b = (x - left)[:, None], (y - above)[:, None]
        upper = (1 - a) * at(above, left) + a * at(above, right)
        lower = (1 - a) * at(below, left) + a * at(below, right)
        return [((1 - b) * upper + b * lower) * inside[:, None]]


def _weights(positions: torch.Tensor, size: int) -> tuple[torch.Tensor, torch.Tensor]:
    """How `size` places weigh in values at these positions (P): (P, size); and what was sampled.

    Positions more than half a place outside have no weight; those outside by less are moved to
    the first or last place.
    """
    inside = (positions >= -0.5) & (positions <= size - 0.5)
    at = positions.clamp(0, size - 1)
    places = torch.arange(size, device=positions.device, dtype=positions.dtype)
    weights = (1 - (at[:, None] - places).abs()).clamp(min=0)
    return weights * inside[:, None], at


class MaskResize(Layer, type="MaskResize"):
    """Masks of another size, bilinearly, with the first places on each other (MNC, Dai et al. 2016).

    Each value of the bottom gets its gradient from two rows and columns of the top at most, as
    in the authors' Caffe, which is all there are where the masks become smaller.
    """

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        (x,), p = bottoms, self.param.mask_resize_param
        (rows, near_rows), (columns, near_columns) = (
            self._axis(size, out, x)
            for size, out in zip(x.shape[2:], (p.output_height, p.output_width), strict=True)
        )

        def backward(upstream: torch.Tensor) -> list[torch.Tensor]:
            return [near_rows.T @ upstream @ near_columns]

        return [custom_gradient(rows @ x.detach() @ columns.T, [x], backward)]

    @staticmethod
    def _axis(size: int, out: int, like: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The weights (out, size) of an axis, and those of them that backward knows."""
        ratio = size / out
        tops = torch.arange(out, device=like.device, dtype=like.dtype)
        places = torch.arange(size, device=like.device, dtype=like.dtype)
        weights, _ = _weights(tops * ratio, size)
        first = (places / ratio).floor()
        known = (tops[:, None] >= first) & (tops[:, None] <= first + 1)
        near = (tops[:, None] * ratio - places).abs() < 1
        return weights, weights * (known & near)


class ROIWarping(Layer, type="ROIWarping"):
    """A region (R, 5) as a map of fixed size, bilinearly, with a gradient to its corners.

    Of MNC (Dai et al. 2016). A region is rounded to places of the map; its samples begin at its
    first place and are its width / pooled_w apart. What lies outside the map is 0. As in the
    authors' Caffe a place of the map gets no gradient from the samples that lie beyond what a
    region wider by one place would put there, and corners get none from samples in the last row
    or column of the map.
    """

    replayable = False  # the regions have to be known on the host
    untraceable = "where it looks depends on the regions' values"

    def forward(self, bottoms: Tensors, blobs: Tensors) -> Tensors:
        x, rois = bottoms
        p = self.param.roi_warping_param
        regions = rois.detach().reshape(rois.shape[0], 5)
        corners = rounded(regions[:, 1:] * p.spatial_scale)
        images = regions[:, 0].long().tolist()
        maps, axes = x.detach(), []
        for n, (image, (left, top, right, bottom)) in enumerate(
            zip(images, corners.tolist(), strict=True)
        ):
            if not 0 <= image < x.shape[0]:
                raise graph.NetError(
                    f"layer '{self.name}': region {n} is in image {image}, outside the batch "
                    f"of {x.shape[0]}"
                )
            rows = _Axis(top, bottom, p.pooled_h, x.shape[2], maps)
            axes.append((image, rows, _Axis(left, right, p.pooled_w, x.shape[3], maps)))
        tops = [rows.weights @ maps[image] @ columns.weights.T for image, rows, columns in axes]

        def backward(upstream: torch.Tensor) -> list[torch.Tensor]:
            to_maps, to_rois = torch.zeros_like(maps), torch.zeros_like(regions)
            for n, (image, rows, columns) in enumerate(axes):
                given = upstream[n]
                to_maps[image] += rows.known.T @ given @ columns.known
                along_x = (given * (rows.inner @ maps[image] @ columns.slope.T)).sum((0, 1))
                along_y = (given * (rows.slope @ maps[image] @ columns.inner.T)).sum((0, 2))
                for i, (along, axis) in enumerate(((along_x, columns), (along_y, rows))):
                    to_rois[n, 1 + i] = p.spatial_scale * (along * (1 - axis.share)).sum()
                    to_rois[n, 3 + i] = p.spatial_scale * (along * axis.share).sum()
            return [to_maps, to_rois.reshape(rois.shape)]

        empty = x.new_zeros(self.shapes_of(x, rois).tops[0])
        return [custom_gradient(torch.stack(tops) if tops else empty, [x, rois], backward)]


class _Axis:
    """One axis of a region: `count` samples from `first` on, of a map with `size` places.

    weights: (count, size), of the places in a sample. known: those that hand a gradient to the
    map. inner, slope: weights and derivatives by the position, of samples that hand one to the
    corners. share: (count), how far between the corners a sample lies.
    """

    def __init__(
        self, first: float, last: float, count: int, size: int, like: torch.Tensor
    ) -> None:
        numbers = torch.arange(count, device=like.device, dtype=like.dtype)
        places = torch.arange(size, device=like.device, dtype=like.dtype)
        wanted = first + numbers * (max(last - first, 0.0) / count)
        self.weights, at = _weights(wanted, size)
        wider = max(last - first + 1, 1.0)
        part = wider / count
        begin = ((places - first - 1) / part - 1).floor()
        end = ((places - first + 1) / part).ceil()
        known = (places >= first) & (places <= last)
        reached = (numbers[:, None] >= begin) & (numbers[:, None] < end)
        self.known = self.weights * (known & reached)
        low = at.floor()
        counts = ((self.weights.sum(1) > 0) & (low + 1 <= size - 1))[:, None]
        self.inner = self.weights * counts
        self.slope = (
            (places == low[:, None] + 1).to(at) - (places == low[:, None]).to(at)
        ) * counts
        self.share = (at - first) / wider
