"""The network: encoder, training, inference, export."""
