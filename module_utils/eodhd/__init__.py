"""The backfill from EODHD: client, parser, plan, store, ledger and the pipeline that joins them."""
