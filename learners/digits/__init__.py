"""Handwritten digits: the smallest learner there is, to read before writing one's own."""
