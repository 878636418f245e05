"""Driving: a track world, an expert, and a policy that learns from it by DAgger."""
