"""Asking EODHD: one call, its repeats, the limits of the account, and answers that outlive a killed run."""
