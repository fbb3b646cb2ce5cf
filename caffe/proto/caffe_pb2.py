"""The messages and enums of caffe.proto under the name that pycaffe's users import.

They live in a descriptor pool of their own, so that a script may have its own compiled caffe_pb2
beside them.
"""

from netgen.schema.caffe_pb import *  # noqa: F403
