"""What is learned, and from which private data: each learner runs in a process of its own."""
