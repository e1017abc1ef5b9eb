"""Fault injection: invalid files, full disks, killed processes, and simultaneous runs."""
