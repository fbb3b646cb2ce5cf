"""How a C++ Caffe is built from its source package, for `caffe -engine pycaffe`."""
