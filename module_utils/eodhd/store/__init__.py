"""Stores answers in the tables: parsing, writing, and the database sessions."""
