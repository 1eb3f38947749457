"""The models that come with the package: one folder each, with model.json and weights.pt."""
