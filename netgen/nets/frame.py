"""What is around a net: the data layers above it, the loss and accuracy below it."""

from collections.abc import Callable
from dataclasses import dataclass

from netgen.builder import NetSpec, Top
from netgen.builder import layers as L
from netgen.builder import params as P
from netgen.nets.options import NetOptions
from netgen.schema import caffe_pb

CLASSES = 10


@dataclass(frozen=True)
class Dataset:
    """What a net learns from: LMDB_train_lmdb and LMDB_test_lmdb in the folder of its options.

    lmdb: how their names begin. image: (C, H, W) as the net sees it. transform: fields of
    transform_param in both phases. mirror: whether training mirrors images at random.
    mean_file: whether mean.binaryproto of the same folder is subtracted.
    """

    lmdb: str
    image: tuple[int, int, int]
    transform: dict[str, float]
    mirror: bool = False
    mean_file: bool = False

    def layer(self, options: NetOptions, phase: int) -> tuple[Top, Top]:
        """The two Tops, images and labels, of the Data layer of a phase."""
        train = phase == caffe_pb.TRAIN
        folder = options.data.rstrip("/")
        transform: dict[str, object] = dict(self.transform)
        if self.mirror and train:
            transform["mirror"] = True
        if self.mean_file:
            transform["mean_file"] = f"{folder}/mean.binaryproto"
        return L.Data(
            ntop=2,
            include={"phase": phase},
            **({"transform_param": transform} if transform else {}),
            source=f"{folder}/{self.lmdb}_{'train' if train else 'test'}_lmdb",
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
        n.data = L.Input(shape={"dim": [options.batch_size, *dataset.image]})
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
