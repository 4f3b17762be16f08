"""Requests to EODHD: calls with retries, the account's limits, and answers that survive a killed run."""
