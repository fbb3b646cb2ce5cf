"""What a log line looks like: written as glog does, and read from any Caffe's log."""
