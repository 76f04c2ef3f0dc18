"""What is fast and by how much: `python -m benchmarks`. Nothing here is imported by the packages."""
