"""The report, and the comparison of two runs."""
