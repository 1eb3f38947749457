"""What the network is shown in training: patches of prepared cases, and of synthetic CT."""
