"""Which clusters, and which facts of them, are worth a word."""

from __future__ import annotations

import pandas as pd

SIGNIFICANT = 0.01
MIN_LIFT = 1.5
# How well a cluster has to be found again in 80 % of the groups (Jaccard) to have a name. What clusters in noise reach
# is in docs/statistics.md: hardly any so much, even of variances that fall as those of real latent vectors do.
STABLE = 0.75


def enriched(profiles: pd.DataFrame) -> pd.DataFrame:
    """The rows of facts that are over-represented in their cluster, clearly and not by chance, most certain first."""
    facts = profiles[profiles["kind"] == "fact"]
    clear = facts[(facts["p_value"] < SIGNIFICANT) & (facts["lift"] >= MIN_LIFT)]
    return clear.sort_values(["cluster", "p_value", "lift"], ascending=[True, True, False], kind="stable")
