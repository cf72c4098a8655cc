"""Metrics, all from one array of counts per image, and their intervals."""
