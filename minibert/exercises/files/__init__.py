"""The files that `minibert exercises` writes: exercises to complete, and the test of each."""
