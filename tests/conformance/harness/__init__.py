"""Cases, the engines that run them, and the comparison of what comes out. See ../README.md."""
