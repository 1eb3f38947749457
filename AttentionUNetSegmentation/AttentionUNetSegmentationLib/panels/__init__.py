"""The parts of the module's panel, and the run that goes on behind it. Needs slicer, qt and ctk."""
