"""Where pycaffe keeps its messages: `from caffe.proto import caffe_pb2`."""
