"""A model: its description, where it is found, and how it is loaded; the bundled models lie beside."""
