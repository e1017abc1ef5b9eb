"""The files that `minibert exercises` writes: tasks to complete, and the test of each."""
