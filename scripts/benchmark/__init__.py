"""The benchmark suite (``make bench``): forward pass, whole pipeline, training step, each against its floor.

Every measurement runs in a process of its own, so that nothing is warm from the one before and its memory is its own.
The process that starts them imports none of the libraries that compute.
"""
