"""Many whole nodes under virtual time: real cores, a made-up world, and everything that goes wrong in it."""
