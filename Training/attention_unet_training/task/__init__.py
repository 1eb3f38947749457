"""The learning task: network, loss, optimiser, starting weights."""
