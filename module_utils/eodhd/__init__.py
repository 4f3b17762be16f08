"""The EODHD backfill: service, plan, run, store, ledger, and the modes that combine them."""
