"""What is around a net: the data layers above it, the loss and accuracy below it."""

from collections.abc import Callable
from dataclasses import dataclass

from netgen.builder import NetSpec, Top
from netgen.builder import layers as L
from netgen.builder import params as P
from netgen.nets.options import NetOptions
from netgen.schema import caffe_pb


@dataclass(frozen=True)
class Dataset:
    """What a net learns from: LMDB_train_lmdb and LMDB_test_lmdb in the folder of its options.

    lmdb: how their names begin. image: (C, H, W) as the net sees it. transform: fields of
    transform_param in both phases. mirror: whether training mirrors images at random.
    mean_file: whether mean.binaryproto of the same folder is subtracted. pixel_scale: what the
    pixels of own images, less their mean, are multiplied with, if anything: a net whose own
    records are whitened wants numbers of that size.
    """

    lmdb: str
    image: tuple[int, int, int]
    transform: dict[str, float]
    mirror: bool = False
    mean_file: bool = False
    pixel_scale: float | None = None

    def shape(self, options: NetOptions) -> tuple[int, int, int]:
        """(C, H, W) of what the net sees."""
        channels, height, width = self.image
        if options.image_sides:
            height, width = options.image_sides
        return options.image_channels or channels, height, width

    def layer(self, options: NetOptions, phase: int) -> tuple[Top, Top]:
        """The two Tops, images and labels, of the Data layer of a phase."""
        train = phase == caffe_pb.TRAIN
        folder = (options.images or options.data).rstrip("/")
        part = "train" if train else "test"
        name = f"{part}_lmdb" if options.images else f"{self.lmdb}_{part}_lmdb"
        transform: dict[str, object] = dict(self.transform)
        if options.image_sides:
            height, width = options.image_sides
            if "crop_size" in transform and height == width:
                transform["crop_size"] = height
            else:  # Caffe's crops are squares: records of another shape are not cropped
                transform.pop("crop_size", None)
        if options.images and self.pixel_scale:
            transform["scale"] = self.pixel_scale
        if self.mirror and train:
            transform["mirror"] = True
        if self.mean_file or options.images:
            transform["mean_file"] = f"{folder}/mean.binaryproto"
        return L.Data(
            ntop=2,
            include={"phase": phase},
            **({"transform_param": transform} if transform else {}),
            source=f"{folder}/{name}",
            batch_size=options.batch_size if train else options.test_batch_size,
            backend=P.Data.LMDB,
        )


def whole_net(
    body: Callable[[NetSpec, Top, NetOptions, bool], Top],
    dataset: Dataset,
    name: str,
    options: NetOptions,
    deploy: bool = False,
) -> caffe_pb.NetParameter:
    """The NetParameter of a net: train and test net in one, or the deploy net.

    body(n, image, options, deploy) adds the layers from Top `image` to NetSpec `n` and
    returns the Top of the scores. options: NetOptions filled by of_net.
    """
    n = NetSpec(name)
    if deploy:
        n.data = L.Input(shape={"dim": [options.batch_size, *dataset.shape(options)]})
        n.prob = L.Softmax(body(n, n.data, options, deploy))
        return n.to_proto()

    n.data, n.label = dataset.layer(options, caffe_pb.TRAIN)
    scores = body(n, n.data, options, deploy)
    n.accuracy = L.Accuracy(scores, n.label, include={"phase": caffe_pb.TEST})
    n.loss = L.SoftmaxWithLoss(scores, n.label)
    net = n.to_proto()

    # The test layer makes blobs of the same names, which one NetSpec cannot hold.
    test = NetSpec()
    test.data, test.label = dataset.layer(options, caffe_pb.TEST)
    net.layer.insert(1, test.to_proto().layer[0])
    return net
