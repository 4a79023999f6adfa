"""Which fields of well-known benchmarks make an item: data, not code, in `mappings.yaml`."""
