"""MetaDrive as a world to drive in: an optional extra (docs/metadrive.md)."""
