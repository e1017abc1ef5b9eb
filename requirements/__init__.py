"""Versions with hashes for CI and the demo, and the bill of materials of a release."""
