"""From an answer to the tables: parsing, writing, and the sessions that write."""
