"""Plans a run's API calls before the first one is made."""
