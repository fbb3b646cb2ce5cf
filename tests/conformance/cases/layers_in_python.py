"""Python layers of the cases: imported by their `python_param { module: "layers_in_python" }`."""

import json

import numpy as np

import caffe


class Records(caffe.Layer):
    """Data: batches of images and labels from numpy's frozen generator, counted on."""

    def setup(self, bottom, top):
        self.shape = json.loads(self.param_str)
        self.random = np.random.RandomState(3 + self.phase)

    def reshape(self, bottom, top):
        top[0].reshape(*self.shape)
        top[1].reshape(self.shape[0])

    def forward(self, bottom, top):
        top[0].data[...] = self.random.standard_normal(self.shape)
        top[1].data[...] = self.random.randint(0, 5, self.shape[0])

    def backward(self, top, propagate_down, bottom):
        pass


class Lengths(caffe.Layer):
    """Data: every batch is longer than the one before."""

    def setup(self, bottom, top):
        self.count, self.random = 1, np.random.RandomState(7)

    def reshape(self, bottom, top):
        top[0].reshape(self.count, 2, 5, 5)
        top[1].reshape(self.count)

    def forward(self, bottom, top):
        top[0].data[...] = self.random.standard_normal(top[0].data.shape)
        top[1].data[...] = self.random.randint(0, 5, self.count)
        self.count = self.count % 4 + 1

    def backward(self, top, propagate_down, bottom):
        pass


class Softplus(caffe.Layer):
    """A neuron layer; also in place."""

    def setup(self, bottom, top):
        self.sharpness = float(self.param_str or 1)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self.slope = 1 / (1 + np.exp(-self.sharpness * bottom[0].data))
        top[0].data[...] = np.log1p(np.exp(self.sharpness * bottom[0].data)) / self.sharpness

    def backward(self, top, propagate_down, bottom):
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.slope


class SumAndProduct(caffe.Layer):
    """Two bottoms, two tops."""

    def setup(self, bottom, top):
        if len(bottom) != 2 or len(top) != 2:
            raise ValueError("two bottoms and two tops are needed")

    def reshape(self, bottom, top):
        for blob in (top[0], top[1]):
            blob.reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        top[0].data[...] = bottom[0].data + bottom[1].data
        top[1].data[...] = bottom[0].data * bottom[1].data

    def backward(self, top, propagate_down, bottom):
        for i in range(2):
            if propagate_down[i]:
                bottom[i].diff[...] = top[0].diff + top[1].diff * bottom[1 - i].data


class Affine(caffe.Layer):
    """Two parameters, a factor and a summand for each channel."""

    def setup(self, bottom, top):
        channels = bottom[0].shape[1]
        self.blobs.add_blob(channels)
        self.blobs.add_blob(channels)
        self.blobs[0].data[...] = np.linspace(0.5, 1.5, channels)
        self.blobs[1].data[...] = np.linspace(-0.2, 0.2, channels)

    def reshape(self, bottom, top):
        top[0].reshape(*bottom[0].data.shape)
        self.along = (1, -1) + (1,) * (len(bottom[0].data.shape) - 2)
        self.others = tuple(i for i in range(len(bottom[0].data.shape)) if i != 1)

    def forward(self, bottom, top):
        factor, summand = (blob.data.reshape(self.along) for blob in self.blobs)
        top[0].data[...] = bottom[0].data * factor + summand

    def backward(self, top, propagate_down, bottom):
        self.blobs[0].diff[...] += (top[0].diff * bottom[0].data).sum(self.others)
        self.blobs[1].diff[...] += top[0].diff.sum(self.others)
        if propagate_down[0]:
            bottom[0].diff[...] = top[0].diff * self.blobs[0].data.reshape(self.along)


class CenterLoss(caffe.Layer):
    """A loss with parameters: half the mean squared distance to the centre of one's label."""

    def setup(self, bottom, top):
        self.blobs.add_blob(5, bottom[0].data[0].size)
        self.blobs[0].data[...] = np.arange(5)[:, None] * 0.1

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        count = len(bottom[0].data)
        labels = bottom[1].data.reshape(count).astype(int)
        self.away = bottom[0].data.reshape(count, -1) - self.blobs[0].data[labels]
        top[0].data[...] = (self.away**2).sum() / (2 * count)

    def backward(self, top, propagate_down, bottom):
        count = len(bottom[0].data)
        scaled = self.away * (top[0].diff.ravel()[0] / count)
        labels = bottom[1].data.reshape(count).astype(int)
        np.subtract.at(self.blobs[0].diff, labels, scaled)
        if propagate_down[0]:
            bottom[0].diff[...] = scaled.reshape(bottom[0].data.shape)


class Hits(caffe.Layer):
    """What an accuracy layer counts, without a backward."""

    def setup(self, bottom, top):
        pass

    def reshape(self, bottom, top):
        top[0].reshape(1)

    def forward(self, bottom, top):
        guesses = bottom[0].data.reshape(len(bottom[0].data), -1).argmax(1)
        top[0].data[...] = (guesses == bottom[1].data.ravel()).mean()


class Broken(caffe.Layer):
    """Raises where its param_str says."""

    def setup(self, bottom, top):
        self._maybe("setup")

    def reshape(self, bottom, top):
        self._maybe("reshape")
        top[0].reshape(*bottom[0].data.shape)

    def forward(self, bottom, top):
        self._maybe("forward")
        top[0].data[...] = bottom[0].data

    def backward(self, top, propagate_down, bottom):
        self._maybe("backward")

    def _maybe(self, where):
        if self.param_str == where:
            raise RuntimeError(f"broken in {where}")
