"""Suspect labels: finding, ranking quality, export, planting faults."""
