"""The motif of plain nets: one layer under the other, numbered by kind."""

from netgen.builder import NetSpec, Top
from netgen.builder import layers as L
from netgen.builder import params as P
from netgen.nets.options import NetOptions


class Column:
    """Adds each layer to NetSpec `n` under the last one, starting from Top `top`.

    Layers are named conv1, relu1, drop1, ... in the order of their calls.
    """

    def __init__(self, n: NetSpec, top: Top, options: NetOptions, dropout: bool = True):
        self.n = n
        self.top = top
        self.options = options
        self._dropout = dropout
        self._convs = self._drops = 0

    def conv(
        self, channels: int, kernel: int, *, pad: int = 0, stride: int = 1, scaled: bool = True
    ) -> None:
        """A square convolution with bias, and a ReLU. scaled=False: not changed by the width."""
        self._convs += 1
        geometry = {"kernel_size": kernel}
        if pad:
            geometry["pad"] = pad
        if stride != 1:
            geometry["stride"] = stride
        self._add(
            f"conv{self._convs}",
            L.Convolution(
                self.top,
                num_output=self.options.channels(channels) if scaled else channels,
                **geometry,
                weight_filler={"type": self.options.weight_filler},
                bias_filler={"type": "constant"},
                param=[{"lr_mult": 1}, {"lr_mult": 1}],
            ),
        )
        self._add(f"relu{self._convs}", L.ReLU(self.top, in_place=True))

    def dropout(self, ratio: float | None) -> None:
        """Dropout in place. A ratio of 0 adds nothing, and a deploy net has none."""
        self._drops += 1
        if self._dropout and ratio:
            self._add(f"drop{self._drops}", L.Dropout(self.top, dropout_ratio=ratio, in_place=True))

    def global_average(self) -> None:
        """The mean of each channel over the whole image: N x C x 1 x 1."""
        self._add("pool", L.Pooling(self.top, pool=P.Pooling.AVE, global_pooling=True))

    def _add(self, name: str, top: Top) -> None:
        self.n[name] = self.top = top
