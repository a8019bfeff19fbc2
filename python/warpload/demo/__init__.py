"""The demonstration behind `warpload demo`, and what it shares with the programs in benchmarks/."""
