"""The latent space: vectors, map, neighbours, clusters, attention."""
