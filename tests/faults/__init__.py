"""Faults and strangers: broken files, full disks, kills, and several at once."""
