"""Speed: each scenario measured beside its limit, in interleaved rounds of one run on one machine."""
