"""Carrying out a plan: threads, progress and the report."""
