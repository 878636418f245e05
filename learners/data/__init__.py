"""A peer's private data: recordings and demonstrations, in a folder that LeRobot's tools can read too."""
