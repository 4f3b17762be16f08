"""A stand-in of the EODHD service: deterministic data and every misbehaviour of its contract, on loopback."""
