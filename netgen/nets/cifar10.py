"""What is around a CIFAR-10 net: the data layers above it, the loss and accuracy below it."""

from netgen.builder import NetSpec
from netgen.builder import layers as L
from netgen.builder import params as P
from netgen.nets.column import Column
from netgen.schema import caffe_pb

CLASSES = 10
IMAGE = (3, 32, 32)
TRAIN_LMDB = "cifar10_train_lmdb"
TEST_LMDB = "cifar10_test_lmdb"


def build(body, name, options, deploy=False):
    """The NetParameter of a plain net for CIFAR-10.

    body(column, options) adds the layers from the image to the N x 10 x 1 x 1 scores.
    """
    return (_deploy if deploy else _train_test)(body, name, options)


def _train_test(body, name, options):
    n = NetSpec(name)
    n.data, n.label = _data(options, caffe_pb.TRAIN)
    scores = _scores(body, n, options, dropout=True)
    n.accuracy = L.Accuracy(scores, n.label, include={"phase": caffe_pb.TEST})
    n.loss = L.SoftmaxWithLoss(scores, n.label)
    net = n.to_proto()

    # The test layer makes blobs of the same names, which one NetSpec cannot hold.
    test = NetSpec()
    test.data, test.label = _data(options, caffe_pb.TEST)
    net.layer.insert(1, test.to_proto().layer[0])
    return net


def _deploy(body, name, options):
    n = NetSpec(name)
    n.data = L.Input(shape={"dim": [options.batch_size or 1, *IMAGE]})
    n.prob = L.Softmax(_scores(body, n, options, dropout=False))
    return n.to_proto()


def _scores(body, n, options, dropout):
    column = Column(n, n.data, options, dropout)
    body(column, options)
    return column.top


def _data(options, phase):
    """Records may be padded: crops are random in training, from the centre in testing."""
    train = phase == caffe_pb.TRAIN
    return L.Data(
        ntop=2,
        include={"phase": phase},
        transform_param={"crop_size": IMAGE[-1], **({"mirror": True} if train else {})},
        source=f"{options.data.rstrip('/')}/{TRAIN_LMDB if train else TEST_LMDB}",
        batch_size=(options.batch_size or 128) if train else options.test_batch_size,
        backend=P.Data.LMDB)
