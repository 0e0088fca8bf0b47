"""Tests that cut the power, the process or a disk call, and look at what is left."""
