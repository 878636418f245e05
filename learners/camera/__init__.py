"""Driving by camera: from recordings of real cars, or in the track world."""
