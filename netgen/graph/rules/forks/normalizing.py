"""Both layers called Normalize, and both called BN."""

from netgen.graph.errors import require, require_equal
from netgen.graph.registry import LayerShapes, Setup, rule
from netgen.graph.shape import Shape, legacy_dim
from netgen.schema import caffe_pb

_SEGNET = ("scale_filler", "shift_filler", "bn_mode")
_PSPNET = ("slope_filler", "bias_filler", "momentum", "eps", "frozen")


@rule("Normalize", tops=(1, 2))
def normalize(setup: Setup) -> LayerShapes:
    """SSD's has norm_param and one blob, a scale or one a channel; that of face forks neither.

    A second top of the latter has the norms.
    """
    (bottom,) = setup.bottoms
    require(len(bottom) >= 2, f"Number of axes of bottom blob must be >=2. ({len(bottom)} vs. 2)")
    if not setup.layer.HasField("norm_param"):
        kind = setup.layer.normalize_param.normalize_type
        require(kind in ("L1", "L2"), f"normalize_type is L1 or L2, not {kind}")
        return LayerShapes([bottom, (bottom[0], 1, *bottom[2:])][: setup.num_tops])
    require(
        not setup.layer.HasField("normalize_param"), "norm_param and normalize_param are two layers"
    )
    require_equal(1, setup.num_tops, "Normalize with norm_param has one top")
    scale: Shape = () if setup.layer.norm_param.channel_shared else (bottom[1],)
    return LayerShapes([bottom], [scale])


def _is_segnets(layer: caffe_pb.LayerParameter) -> bool:
    """Whether a BN is SegNet's, of two blobs, and not PSPNet's, of four.

    Its fields tell, or else how many tops or `param`s it has. Raises NetError if nothing does,
    or if it has fields of both.
    """
    param = layer.bn_param
    segnets = [name for name in _SEGNET if param.HasField(name)]
    pspnets = [name for name in _PSPNET if param.HasField(name)]
    require(
        not (segnets and pspnets),
        f"bn_param mixes two layers: {', '.join(segnets)} is SegNet's, {', '.join(pspnets)} "
        "is PSPNet's",
    )
    if segnets or pspnets:
        return bool(segnets)
    require(
        len(layer.top) > 1 or len(layer.param) > 2,
        "BN is the name of two layers: choose SegNet's with bn_param { bn_mode: LEARN }, or "
        "PSPNet's with bn_param { frozen: false }",
    )
    return len(layer.top) > 1


@rule("BN", tops=(1, 3))
def bn(setup: Setup) -> LayerShapes:
    """SegNet's blobs are scale and shift, PSPNet's slope, bias, mean and variance: (1, C, 1, 1).

    SegNet's may also give the mean and the variance of the batch.
    """
    (bottom,) = setup.bottoms
    channels = legacy_dim(bottom, 1)
    one_a_channel = (1, channels, 1, 1)
    if _is_segnets(setup.layer):
        tops = [tuple(legacy_dim(bottom, i) for i in range(4)), one_a_channel, one_a_channel]
        return LayerShapes(tops[: setup.num_tops], [one_a_channel] * 2)
    require(setup.num_tops == 1, f"PSPNet's BN has one top ({setup.num_tops} vs. 1)")
    return LayerShapes([bottom], [one_a_channel] * 4)
