"""Runs a plan: threads, progress and the report."""
