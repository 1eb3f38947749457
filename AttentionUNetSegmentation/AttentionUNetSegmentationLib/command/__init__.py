"""The attention-unet command: many cases, their files, and what the terminal shows."""
